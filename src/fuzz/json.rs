//! The readers of JSON against `serde_json` and each other.

use serde_json::Value as Tree;

use super::Input;
use super::input::pieces;
use crate::budget::Budget;
use crate::json::{Document, Limits, Value, close_truncated, write_string};

/// Levels at which all readers agree; `serde_json` takes one less than this crate's.
const DEPTH: usize = 120;

/// Everything of a body is kept.
const WIDE: Limits = Limits { head: 1 << 20, member: 1 << 20 };

/// See the module's documentation.
pub(super) fn json(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = [
        Limits { head: input.pick(&[64, 0, 1, 7, 300, 1 << 20]), member: input.pick(&[32, 0, 1, 7, 100, 1 << 20]) },
        WIDE,
    ];
    let (cut, seed) = (input.choose(256), input.seed());
    let body = input.rest();
    values(body);
    limits.into_iter().for_each(|limits| documents(body, limits, seed));
    let value = Value::parse(body);
    if let Some(value) = value.filter(|value| value.is_object() || value.is_array()) {
        let text = value.raw().as_bytes();
        let (begun, _) = text.split_at(1 + cut * text.len() / 257);
        let closed = close_truncated(begun);
        assert!(Value::parse(&closed).is_some(), "{} closed as {}", begun.escape_ascii(), closed.escape_ascii());
    }
    let _ = close_truncated(body);
    let text = String::from_utf8_lossy(body);
    let mut written = String::new();
    write_string(&mut written, &text);
    assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(text.as_ref()), "{written}");
    assert_eq!(Value::parse(written.as_bytes()).and_then(Value::text), Some(text), "{written}");
}

/// A value is one for both, and of the same content.
fn values(body: &[u8]) {
    let value = Value::parse(body);
    let Ok(text) = std::str::from_utf8(body) else { return assert!(value.is_none(), "no UTF-8") };
    let is_taken = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() < DEPTH {
        assert_eq!(value.is_some(), is_taken, "{text}");
    } else {
        assert!(is_taken || value.is_none(), "{text}");
    }
    let Some(value) = value else { return };
    let read = tree(value);
    // `serde_json` refuses half surrogate pairs, and numbers that are out of range.
    if let Ok(expected) = serde_json::from_str::<Tree>(text) {
        assert_eq!(read, Some(expected), "{text}");
    }
}

/// The value as a tree, read with this crate alone; none where a number is out of range.
fn tree(value: Value<'_>) -> Option<Tree> {
    if value.is_object() {
        return value.members().map(|(name, value)| Some((name.into_owned(), tree(value)?))).collect();
    }
    if value.is_array() {
        return value.items().map(tree).collect();
    }
    match value.text() {
        Some(text) => Some(text.into_owned().into()),
        None => serde_json::from_str(value.raw()).ok(),
    }
}

/// A document is the same for any split, knows the members of an object, and shows JSON of what is JSON.
fn documents(body: &[u8], limits: Limits, seed: u64) {
    let budget = Budget::new(64 << 20);
    let read = |pieces: &[&[u8]]| {
        let mut document = Document::new(limits, budget.capture_lease());
        pieces.iter().for_each(|piece| document.push(piece));
        document
    };
    let whole = read(&[body]);
    for seed in [0, seed] {
        assert_eq!(shown(&read(&pieces(body, seed))), shown(&whole), "split by {seed}");
    }
    assert!(whole.head().len() <= limits.head && whole.seen() == body.len(), "the head is a beginning");
    if let Some(value) = Value::parse(body).filter(|value| value.is_object()) {
        assert!(whole.is_closed(), "an object is closed");
        let view = whole.view();
        assert!(Value::parse(&view).is_some(), "{} is no JSON", view.escape_ascii());
        if limits.head >= body.len() {
            same_members(value, &whole);
        }
    }
    drop(whole);
    assert_eq!(budget.used(), 0, "all is given back");
}

fn same_members(value: Value<'_>, document: &Document) {
    let members = value.members();
    // More members than are kept by name.
    if members.clone().count() > 256 {
        return;
    }
    assert_eq!(members.clone().count(), document.members().count());
    for ((name, value), member) in members.zip(document.members()) {
        assert!(member.complete && member.value == value.raw().as_bytes(), "{name}: {member:?}");
        let children = if value.is_array() { value.items().count() } else { value.members().count() };
        assert_eq!(usize::try_from(member.children), Ok(children), "{name}");
    }
}

fn shown(document: &Document) -> String {
    let states = [document.is_object(), document.is_open(), document.is_closed(), document.is_whole()];
    let members: Vec<String> = document.members().map(|member| format!("{member:?}")).collect();
    format!("{states:?} {:?} {} {}", document.memory_short(), members.join(" "), document.view().escape_ascii())
}
