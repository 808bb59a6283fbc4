//! What is known of a [`Document`]: its members, and all of it as one JSON text.

use std::borrow::Cow;

use super::document::Slot;
use super::{Document, Value, close_truncated, trim_start};

/// One top-level member of the body.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The key as written, without quotes.
    pub key: &'a [u8],
    /// The value as written; a prefix of it unless `complete`.
    pub value: &'a [u8],
    /// The whole value was seen and kept.
    pub complete: bool,
    /// Direct children when the value is an array (or object): exact, also when the value was not kept.
    pub children: u32,
}

impl Document {
    /// The body as one JSON text: all of it where it was kept and is whole; else what was kept, closed where it was cut.
    #[must_use]
    pub fn view(&self) -> Cow<'_, [u8]> {
        if self.is_object() && (self.is_open() || !self.is_whole()) {
            return Cow::Owned(self.kept_members());
        }
        let head = trim_start(self.head());
        let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
        if self.is_open() || !self.is_whole() { close_truncated(head).into() } else { Cow::Borrowed(head) }
    }

    /// An object of the members, each as far as it was kept. A cut number or word is left out: what is left of `15` is
    /// another number.
    fn kept_members(&self) -> Vec<u8> {
        let mut out = b"{".to_vec();
        let shown = |member: &Member<'_>| match member.value {
            [] => false,
            [b'"' | b'{' | b'[', ..] => true,
            _ => member.complete,
        };
        for member in self.members().filter(shown) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(member.key);
            out.extend_from_slice(b"\":");
            let closed = if member.complete { None } else { Some(close_truncated(member.value)) };
            out.extend_from_slice(closed.as_deref().unwrap_or(member.value));
        }
        out.push(b'}');
        out
    }

    /// The last member of that name, if it was kept whole and is JSON.
    #[must_use]
    pub fn value(&self, key: &str) -> Value<'_> {
        self.get(key).filter(|member| member.complete).and_then(|member| Value::parse(member.value)).unwrap_or_default()
    }

    /// The value at the end of `path` (as [`Value::at`] has it), if its member was kept whole.
    #[must_use]
    pub fn at(&self, path: &str) -> Value<'_> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        self.value(first).at(rest)
    }

    /// The last member of that name (the one that parsers take).
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Member<'_>> {
        self.slots_with_current().rev().map(|slot| self.member(slot)).find(|member| member.key == key.as_bytes())
    }

    /// The text of the last member of that name, if it is a string that is not empty; its first 256 bytes.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let text = Value::parse(self.get(key)?.value)?.non_empty()?;
        Some(crate::trace::truncate(&text, 256).to_owned())
    }

    /// All members in wire order.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.slots_with_current().map(|slot| self.member(slot))
    }

    fn slots_with_current(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.iter().chain(self.begun())
    }

    fn member(&self, slot: &Slot) -> Member<'_> {
        let bytes = self.store.bytes(slot.place);
        let value_end = slot.value.end.min(bytes.len());
        Member {
            key: bytes.get(slot.key.clone()).unwrap_or_default(),
            value: bytes.get(slot.value.start.min(value_end)..value_end).unwrap_or_default(),
            complete: slot.complete,
            children: slot.children,
        }
    }
}
