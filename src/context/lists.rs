//! Lists and objects in one text: tags and metadata as headers and baggage carry them.
//!
//! Tags come as `a,b` (percent-encoded where they hold a comma), as a JSON array, or as what Python's `str()` makes of a
//! list (`['a', "b's"]`): Langfuse's SDK for Python puts that into baggage. Metadata comes as `key:value,…` or as a JSON
//! object.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use super::value::percent_decoded;
use crate::json::Value;

/// Entries of a list that are kept (the limit of Langfuse's gateway).
pub(super) const ENTRIES_MAX: usize = 64;
/// Entries of a list that are looked at; those behind are not even counted.
pub(super) const LOOKED_AT: usize = 256;

/// The entries of `text`; those that are broken or too many are left out. `is_coded` says that a list with commas is
/// percent-encoded.
pub(super) fn words(text: &str, is_coded: bool) -> Words {
    let text = text.trim();
    if text.starts_with('[') {
        let json = Value::check(text)
            .ok()
            .map(|json| json.items().take(LOOKED_AT).map(|item| item.text().map(Cow::into_owned)).collect());
        if let Some(words) = json.or_else(|| python_list(text)) {
            return Words::of(words);
        }
    }
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Words::of(entries.take(LOOKED_AT).map(|entry| decoded(entry, is_coded)).collect())
}

/// Entries of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub words: Vec<String>,
    pub dropped: u32,
}

impl Words {
    /// At most [`ENTRIES_MAX`]; none stands for one that is broken.
    pub(super) fn of(entries: Vec<Option<String>>) -> Self {
        let mut words = Self::default();
        for entry in entries {
            match entry.filter(|_| words.words.len() < ENTRIES_MAX) {
                Some(word) => words.words.push(word),
                None => words.dropped += 1,
            }
        }
        words
    }
}

/// The entries of `key:value,…`; none stands for one that is broken.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = Option<(String, String)>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(|entry| {
        let (key, value) = entry.split_once(':')?;
        Some((percent_decoded(key.trim(), false)?, percent_decoded(value.trim(), false)?))
    })
}

fn decoded(entry: &str, is_coded: bool) -> Option<String> {
    if is_coded { percent_decoded(entry, false) } else { Some(entry.to_owned()) }
}

/// A list of string literals as Python writes one; none where it is anything else. Nothing is evaluated.
fn python_list(text: &str) -> Option<Vec<Option<String>>> {
    let mut rest = text.strip_prefix('[')?.chars().peekable();
    let mut words = Vec::new();
    loop {
        skip_spaces(&mut rest);
        if rest.next_if_eq(&']').is_some() {
            return rest.next().is_none().then_some(words);
        }
        let quote = rest.next().filter(|quote| matches!(quote, '\'' | '"'))?;
        words.push(Some(literal(&mut rest, quote)?));
        skip_spaces(&mut rest);
        if rest.next_if_eq(&',').is_none() && rest.peek() != Some(&']') {
            return None;
        }
    }
}

fn skip_spaces(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|next| next.is_whitespace()).is_some() {}
}

/// The text up to `quote` (<https://docs.python.org/3/reference/lexical_analysis.html#escape-sequences>).
fn literal(rest: &mut Peekable<Chars<'_>>, quote: char) -> Option<String> {
    let mut word = String::new();
    loop {
        let next = match rest.next()? {
            next if next == quote => return Some(word),
            '\\' => match rest.next()? {
                plain @ ('\\' | '\'' | '"') => plain,
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'x' => code(rest, 2)?,
                'u' => code(rest, 4)?,
                'U' => code(rest, 8)?,
                _ => return None,
            },
            next => next,
        };
        word.push(next);
    }
}

fn code(rest: &mut Peekable<Chars<'_>>, digits: usize) -> Option<char> {
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + rest.next()?.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(text: &str) -> Vec<String> {
        words(text, false).words
    }

    #[test]
    fn tags_are_read_in_every_form() {
        assert_eq!(listed("a, b ,,c"), ["a", "b", "c"]);
        assert_eq!(
            words("comma%2Ctag,a+b,%zz", true),
            Words { words: vec!["comma,tag".into(), "a+b".into()], dropped: 1 }
        );
        assert_eq!(listed(r#"["a","b,c",1]"#), ["a", "b,c"]);
        assert_eq!(
            listed(r#"['plain', 'comma,tag', 'double"quote', "single'quote", 'both\'"quotes', 'back\\slash']"#),
            ["plain", "comma,tag", "double\"quote", "single'quote", "both'\"quotes", "back\\slash",]
        );
        assert_eq!(listed(r"['\xe9\u96ea\U0001F600\t']"), ["\u{e9}\u{96ea}\u{1F600}\t"]);
        assert_eq!(listed("[]"), Vec::<String>::new());
        assert_eq!(listed("['a',]"), ["a"]);
        // What is no list is a tag that looks odd.
        assert_eq!(listed("[open('/etc/passwd')]"), ["[open('/etc/passwd')]"]);
        assert_eq!(listed("['a' 'b']"), ["['a' 'b']"]);
        assert_eq!(listed("['a\\"), ["['a\\"]);
    }

    #[test]
    fn metadata_splits_at_the_first_colon() {
        let entries: Vec<_> = pairs("team:search, key%3Aname:value%2Cwith%3Acolon,broken,bad:%XX,a:b:c").collect();
        let some = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(
            entries,
            [some("team", "search"), some("key:name", "value,with:colon"), None, None, some("a", "b:c"),]
        );
    }

    #[test]
    fn entries_are_bounded() {
        let words = words(&vec!["a"; ENTRIES_MAX + 2].join(","), false);
        assert_eq!((words.words.len(), words.dropped), (ENTRIES_MAX, 2));
    }

    proptest! {
        #[test]
        fn a_list_as_python_writes_it_is_read_back(items in prop::collection::vec("[ -~\u{e0}-\u{ff}]{0,8}", 0..5)) {
            let quoted = |item: &String| match (item.contains('\''), item.contains('"')) {
                (true, false) => format!("\"{}\"", item.replace('\\', "\\\\")),
                _ => format!("'{}'", item.replace('\\', "\\\\").replace('\'', "\\'")),
            };
            let text = format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", "));
            prop_assert_eq!(words(&text, false).words, items);
        }

        #[test]
        fn nothing_traps(text in "\\PC{0,40}") {
            words(&text, true);
            pairs(&text).for_each(drop);
        }
    }
}
