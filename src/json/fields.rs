//! The members of one object, found in one walk: for objects that are asked for several of theirs.
//!
//! [`Value::get`] walks over all that stands before a member, each time; of an answer that is the whole text of the
//! model. Here the first [`KNOWN`] members are found once; what stands behind them is walked over as ever.

use std::ops::Deref;

use super::Value;
use super::value::{WrittenMembers, is_string};

/// Members that are found at once; messages of providers have fewer.
const KNOWN: usize = 24;

/// See the module's documentation. Anything but an object has no members.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    value: Value<'a>,
    /// Names as written, and values.
    known: [(&'a str, Value<'a>); KNOWN],
    len: usize,
    /// One of these names is not what it seems to be, or not what it is in a path: it has a `\`, `~` or `/`.
    is_odd: bool,
    /// The other members.
    rest: WrittenMembers<'a>,
}

impl<'a> Fields<'a> {
    /// Finds the members of `value`.
    #[must_use]
    pub fn of(value: Value<'a>) -> Self {
        let (known, rest) = ([("", Value::ABSENT); KNOWN], value.written_members());
        let mut fields = Self { value, known, len: 0, is_odd: false, rest };
        for slot in &mut fields.known {
            let Some(member) = fields.rest.next() else { break };
            fields.is_odd |= memchr::memchr3(b'\\', b'~', b'/', member.0.as_bytes()).is_some();
            fields.len += 1;
            *slot = member;
        }
        fields
    }

    /// The member of that name; of several, the first.
    #[inline(never)]
    #[must_use]
    pub fn get(&self, key: &str) -> Value<'a> {
        let known = self.known.get(..self.len).unwrap_or_default().iter();
        let found = if self.is_odd {
            known.copied().find(|(name, _)| is_string(name, key))
        } else {
            known.copied().find(|(name, _)| *name == key)
        };
        let found = found.or_else(|| self.rest.clone().find(|(name, _)| is_string(name, key)));
        found.map_or(Value::ABSENT, |(_, value)| value)
    }

    /// See [`Value::at`].
    #[inline(never)]
    #[must_use]
    pub fn at(&self, path: &str) -> Value<'a> {
        if self.is_odd || path.is_empty() {
            return self.value.at(path);
        }
        for (name, value) in self.known.get(..self.len).unwrap_or_default() {
            // The name is the path's first step where a `/` or nothing follows.
            match path.strip_prefix(name) {
                Some("") => return *value,
                Some(rest) if rest.starts_with('/') => return value.below(rest),
                _ => {}
            }
        }
        if self.value.is_object() && self.rest.clone().next().is_none() { Value::ABSENT } else { self.value.at(path) }
    }

    /// The object itself.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        self.value
    }
}

impl<'a> Deref for Fields<'a> {
    type Target = Value<'a>;

    fn deref(&self) -> &Value<'a> {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_members_than_are_found_at_once_are_found() {
        let members: Vec<String> = (0..2 * KNOWN).map(|number| format!("\"k{number}\":{number}")).collect();
        for count in [0, 1, KNOWN - 1, KNOWN, KNOWN + 1, 2 * KNOWN] {
            let text = format!("{{{}}}", members[..count].join(","));
            let fields = Fields::of(Value::parse(text.as_bytes()).unwrap());
            for number in 0..2 * KNOWN {
                let found = fields.get(&format!("k{number}"));
                assert_eq!(found.number(), (number < count).then_some(number as u64), "{number} of {count}");
            }
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["[{\"a\":1}]", "\"a\"", "1", "null"] {
            let value = Value::parse(text.as_bytes()).unwrap();
            let fields = Fields::of(value);
            assert_eq!((fields.get("a"), fields.at("0/a")), (Value::ABSENT, value.at("0/a")));
        }
        assert_eq!(Fields::of(Value::ABSENT).get("a"), Value::ABSENT);
    }

    proptest! {
        #[test]
        fn it_finds_what_walking_finds(
            members in prop::collection::vec((r"[a-c/~]{0,2}|\\u0061|\\\\", r#"[0-9]|\{"a":\[1,2\]\}|"b""#), 0..30),
            path in "[a-c/~01]{0,5}",
        ) {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let text = format!("{{{}}}", members.join(" ,"));
            let value = Value::parse(text.as_bytes()).unwrap();
            let fields = Fields::of(value);
            prop_assert_eq!(fields.get(&path), value.get(&path));
            prop_assert_eq!(fields.at(&path), value.at(&path));
        }
    }
}
