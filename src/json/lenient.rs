//! Reading JSON values that may have any type: one odd field must not cost the rest of a message.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Parses `json`, or says nothing: what cannot be read is absent from the trace, and the caller counts it.
#[must_use]
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

/// True for the JSON word `null`.
#[must_use]
pub fn is_null(json: &[u8]) -> bool {
    json == b"null"
}

/// A string; any other type reads as absent. Borrowed where the text has no escapes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, absent where it is empty: providers send `""` for "nothing".
    #[must_use]
    pub fn non_empty(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    /// The text, also an empty one.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// A whole number of at least 0, also as a whole float (`3.0`); any other type reads as absent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub Option<u64>);

/// Implements the visits of types that a lenient reader takes as "absent".
macro_rules! absent {
    ($($method:ident($kind:ty)),*) => {
        $(fn $method<E>(self, _: $kind) -> Result<Self::Value, E> { Ok(Self::Value::default()) })*
    };
    (containers $lifetime:lifetime) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_seq<A: SeqAccess<$lifetime>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        fn visit_map<A: MapAccess<$lifetime>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }
    absent!(visit_bool(bool), visit_u64(u64), visit_i64(i64), visit_f64(f64));
    absent!(containers 'de);
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
        let whole = number >= 0.0 && number.fract() == 0.0 && number < 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
        Ok(Number(whole.then_some(number as u64)))
    }
    absent!(visit_bool(bool), visit_i64(i64), visit_str(&str));
    absent!(containers 'de);
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Members of one object that are read.
const MEMBERS_MAX: usize = 256;

/// The members of a JSON object in wire order (the first 256), values verbatim; empty for anything but an object.
#[must_use]
pub fn object_members(json: &[u8]) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

    impl<'de> Deserialize<'de> for Members<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(MembersVisitor)
        }
    }

    struct MembersVisitor;

    impl<'de> Visitor<'de> for MembersVisitor {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                if members.len() < MEMBERS_MAX {
                    members.push((key.0.unwrap_or_default(), value));
                }
            }
            Ok(Members(members))
        }
    }

    parse::<Members<'_>>(json).map(|members| members.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample<'a> {
        #[serde(borrow, default)]
        text: Text<'a>,
        #[serde(default)]
        number: Number,
    }

    #[test]
    fn odd_types_read_as_absent_and_cost_nothing_else() {
        for odd in ["null", "true", "-1", "1.5", "[1,[2]]", r#"{"a":{"b":1}}"#] {
            let json = format!(r#"{{"text":{odd},"number":{odd}}}"#);
            let sample: Sample<'_> = parse(json.as_bytes()).unwrap();
            assert_eq!((sample.text, sample.number), (Text(None), Number(None)), "{odd}");
        }
        let sample: Sample<'_> = parse(br#"{"text":"a\nb","number":3.0}"#).unwrap();
        assert_eq!((sample.text.get(), sample.number), (Some("a\nb"), Number(Some(3))));
    }

    #[test]
    fn members_keep_wire_order_and_text() {
        let members = object_members(br#"{"b": [1, 2],"a":"x"}"#);
        let seen: Vec<_> = members.iter().map(|(key, value)| (key.as_ref(), value.get())).collect();
        assert_eq!(seen, [("b", "[1, 2]"), ("a", "\"x\"")]);
        assert!(object_members(b"[1]").is_empty());
        assert!(object_members(b"{\"a\":").is_empty());
    }
}
