//! A JSON value (RFC 8259) in the text it arrived in: checked once, then looked at in place, without a tree.
//!
//! What a trace needs of a message is a handful of its members, so members are found by walking over the bytes; prompts
//! and answers are handed on as the bytes they are. Any type where another was expected reads as absent: one odd field
//! must not cost the rest of a message.

use std::borrow::Cow;

use super::scan;

/// White space of JSON.
const SPACES: [char; 4] = [' ', '\t', '\n', '\r'];

/// A value, or its absence. Copies are two words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a> {
    /// The value as written, without white space around it; empty = absent.
    text: &'a str,
}

impl<'a> Value<'a> {
    /// No value.
    pub const ABSENT: Value<'static> = Value { text: "" };

    /// Checks `bytes` to be one JSON value (UTF-8, at most 128 levels deep, white space around it allowed).
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::check(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// The same of text.
    ///
    /// # Errors
    /// The offset at which `text` stops being one JSON value.
    pub fn check(text: &'a str) -> Result<Self, usize> {
        let text = text.trim_end_matches(SPACES);
        match scan::value_len(text.as_bytes()) {
            Ok(len) if len == text.len() => Ok(Self { text: text.trim_start_matches(SPACES) }),
            Ok(at) | Err(at) => Err(at),
        }
    }

    /// The value as written; empty where it is absent.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.text
    }

    /// There is no such value, or it is `null`.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        matches!(self.text, "" | "null")
    }

    /// It is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// It is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.text.starts_with('[')
    }

    /// It is a string.
    #[must_use]
    pub fn is_string(self) -> bool {
        self.text.starts_with('"')
    }

    /// It is the word `true`.
    #[must_use]
    pub fn is_true(self) -> bool {
        self.text == "true"
    }

    /// The value, unless it is absent or `null`.
    #[must_use]
    pub fn something(self) -> Option<Self> {
        (!self.is_nothing()).then_some(self)
    }

    /// This value, or `other` where this one is absent or `null`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_nothing() { other } else { self }
    }

    /// The member of that name of an object; of several, the first.
    // Asked for at hundreds of places: inlined there, it made a fifth of the module.
    #[inline(never)]
    #[must_use]
    pub fn get(self, key: &str) -> Self {
        let mut rest = self.inside('{');
        while let Some((name, value)) = next_member(&mut rest) {
            if is_string(name, key) {
                return value;
            }
        }
        Value { text: "" }
    }

    /// The value at the end of `path`: names of members and numbers of elements with `/` between them
    /// (RFC 6901 without its first `/`); `path` may be empty.
    #[must_use]
    #[inline(never)]
    pub fn at(self, path: &str) -> Self {
        if path.is_empty() {
            return self;
        }
        path.split('/').fold(self, |value, step| value.step(step))
    }

    /// The value at the end of `steps`, each with a `/` before it.
    pub(super) fn below(self, steps: &str) -> Self {
        steps.split('/').skip(1).fold(self, |value, step| value.step(step))
    }

    fn step(self, step: &str) -> Self {
        if self.is_array() {
            return step.parse().ok().and_then(|number| self.items().nth(number)).unwrap_or_default();
        }
        if !step.contains('~') {
            return self.get(step);
        }
        self.get(&step.replace("~1", "/").replace("~0", "~"))
    }

    /// What stands between the brackets of a container that begins with `open`; empty for anything else.
    fn inside(self, open: char) -> &'a str {
        if self.text.starts_with(open) { scan::inside(self.text) } else { "" }
    }

    /// The elements of an array; none of anything else.
    #[must_use]
    pub fn items(self) -> Items<'a> {
        Items(self.inside('['))
    }

    /// Names (without escapes) and values of an object's members in wire order; none of anything else.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members(self.inside('{'))
    }

    /// Names as written, between the quotes, and values of an object's members.
    pub(super) fn written_members(self) -> WrittenMembers<'a> {
        WrittenMembers(self.inside('{'))
    }

    /// The text of a string. Half a surrogate pair, which is no text, reads as U+FFFD.
    #[must_use]
    #[inline(never)]
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.is_string().then(|| unescaped(scan::inside(self.text)))
    }

    /// The text of a string that is not empty: providers send `""` for "nothing".
    #[must_use]
    #[inline(never)]
    pub fn non_empty(self) -> Option<Cow<'a, str>> {
        self.text().filter(|text| !text.is_empty())
    }

    /// It is the string `text`.
    #[must_use]
    #[inline(never)]
    pub fn is(self, text: &str) -> bool {
        self.is_string() && is_string(scan::inside(self.text), text)
    }

    /// A whole number of at least 0, also as `3.0`.
    #[must_use]
    #[inline(never)]
    pub fn number(self) -> Option<u64> {
        let (whole, fraction) = self.text.split_once('.').unwrap_or((self.text, "0"));
        let is_whole = whole.as_bytes().first().is_some_and(u8::is_ascii_digit) && fraction.bytes().all(|b| b == b'0');
        if is_whole { whole.parse().ok() } else { None }
    }

    /// A number as written, if it is one and at least 0.
    #[must_use]
    pub fn amount(self) -> Option<&'a str> {
        self.text.as_bytes().first().is_some_and(u8::is_ascii_digit).then_some(self.text)
    }
}

/// Elements of an array. (These are walked over in many places: the walking itself is not repeated in each.)
#[derive(Debug, Clone)]
pub struct Items<'a>(&'a str);

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    #[inline(never)]
    fn next(&mut self) -> Option<Value<'a>> {
        take(&mut self.0)
    }
}

/// Members of an object.
#[derive(Debug, Clone)]
pub struct Members<'a>(&'a str);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        next_member(&mut self.0).map(|(name, value)| (unescaped(name), value))
    }
}

/// Members of an object, their names as written.
#[derive(Debug, Clone)]
pub(super) struct WrittenMembers<'a>(&'a str);

impl<'a> Iterator for WrittenMembers<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        next_member(&mut self.0)
    }
}

/// Takes the member that `rest` begins with: its name as written, between the quotes, and its value.
fn next_member<'a>(rest: &mut &'a str) -> Option<(&'a str, Value<'a>)> {
    let name = scan::inside(take(rest)?.text);
    Some((name, take(rest)?))
}

/// Takes the value that `rest` begins with, behind separators.
#[inline(never)]
fn take<'a>(rest: &mut &'a str) -> Option<Value<'a>> {
    let text = rest.get(scan::separators(rest.as_bytes())..).filter(|text| !text.is_empty())?;
    let (text, behind) = text.split_at_checked(scan::skip_value(text.as_bytes()))?;
    *rest = behind;
    Some(Value { text })
}

/// The string written as `written` (between its quotes) is `text`. An escape is longer than what it stands for.
pub(super) fn is_string(written: &str, text: &str) -> bool {
    written == text || (written.len() > text.len() && written.contains('\\') && unescaped(written) == text)
}

/// The text of a string, written as `written` between its quotes.
fn unescaped(written: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', written.as_bytes()).is_none() {
        return Cow::Borrowed(written);
    }
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(code_point(&mut chars)),
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character of `\uXXXX` behind its `\u`, the second half of a pair included.
fn code_point(chars: &mut std::str::Chars<'_>) -> char {
    let high = four_digits(chars);
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = chars.clone();
    if (ahead.next(), ahead.next()) == (Some('\\'), Some('u')) {
        let low = four_digits(&mut ahead);
        if (0xDC00..0xE000).contains(&low) {
            *chars = ahead;
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
    }
    char::REPLACEMENT_CHARACTER
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> u32 {
    chars.by_ref().take(4).filter_map(|digit| digit.to_digit(16)).fold(0, |code, digit| code * 16 + digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(json: &str) -> Value<'_> {
        Value::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn members_and_elements_are_found_in_place() {
        let json = value(r#" {"a" : [1, {"b":"x,]}\""}, []] , "k\u0065y":"v", "a/b":{"~":2}, "n":null} "#);
        assert_eq!((json.at("a/0").raw(), json.at("a/1/b").text().unwrap().as_ref()), ("1", "x,]}\""));
        assert_eq!((json.get("a").items().count(), json.at("a/2").raw()), (3, "[]"));
        assert_eq!((json.get("key").raw(), json.at("a~1b/~0").number()), ("\"v\"", Some(2)));
        assert!(json.get("n").is_nothing() && json.at("a/7").is_nothing() && json.at("k/x").is_nothing());
        let names: Vec<_> = json.members().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["a", "key", "a/b", "n"]);
        assert!(json.get("key").is("v") && !json.get("key").is("w") && !json.get("n").is("null"));
    }

    #[test]
    fn odd_types_read_as_absent() {
        for odd in ["null", "true", "-1", "1.5", "[1,[2]]", r#"{"a":{"b":1}}"#, "1e3"] {
            assert_eq!((value(odd).text(), value(odd).number()), (None, None), "{odd}");
        }
        assert_eq!((value("3.0").number(), value("18446744073709551616").number()), (Some(3), None));
        assert_eq!(
            (value("0.5e-3").amount(), value("-1").amount(), value("\"1\"").amount()),
            (Some("0.5e-3"), None, None)
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_a_broken_character() {
        for (json, text) in [
            (r#""\ud83d\ude00""#, "😀"),
            (r#""a\ud83d""#, "a\u{FFFD}"),
            (r#""\ud83dx""#, "\u{FFFD}x"),
            (r#""\ud83d\u0041""#, "\u{FFFD}A"),
            (r#""\ude00\/\b\f""#, "\u{FFFD}/\u{8}\u{c}"),
        ] {
            assert_eq!(value(json).text().unwrap(), text, "{json}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same value as a tree, read with this module alone.
    fn tree(value: Value<'_>) -> serde_json::Value {
        if value.is_object() {
            return value.members().map(|(name, value)| (name.into_owned(), tree(value))).collect();
        }
        if value.is_array() {
            return value.items().map(tree).collect();
        }
        value.text().map_or_else(|| serde_json::from_str(value.raw()).unwrap(), |text| text.into_owned().into())
    }

    proptest! {
        #[test]
        fn it_reads_what_a_parser_reads(json in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            prop_assert_eq!(tree(value(&text)), json);
        }

        #[test]
        fn it_takes_what_a_parser_takes(text in r#"[\[\]{}",:0-9eE.+\-\\ntrufalsx \n]{0,12}"#) {
            let taken = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(Value::parse(text.as_bytes()).is_some(), taken, "{}", text);
        }

        #[test]
        fn it_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(value) = Value::parse(&bytes) {
                tree(value);
            }
        }
    }
}
