//! A JSON body seen chunk by chunk: keeps a capped copy and knows its top-level members, also those behind the cap.
//!
//! OpenAI's clients send `{"messages":[…],"model":…}` and servers answer `{…,"data":[…],"usage":…}`: what a trace needs
//! most stands behind what is biggest. So the first `head` bytes are kept verbatim, and of what follows, the members
//! that begin there (each up to [`Limits::member`]). One pass, no tree, no look-back; the same for any split of the bytes.

use memchr::memchr2;
use std::ops::Range;

use super::store::{Place, Store};
use crate::budget::Lease;

/// How much of a body is kept, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Kept verbatim from the start of the body.
    pub head: usize,
    /// Kept of each member that begins behind the head.
    pub member: usize,
}

/// Top-level members that are known by name; real bodies have fewer than 50.
const MEMBERS_MAX: usize = 256;
/// Longest key that is kept when it stands behind the head.
const KEY_MAX: usize = 256;

/// Where a member stands in the store.
#[derive(Debug)]
pub(super) struct Slot {
    pub place: Place,
    pub key: Range<usize>,
    pub value: Range<usize>,
    /// Some of its bytes were not kept; later ones are not kept either.
    cut: bool,
    pub complete: bool,
    pub children: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Before the first byte that is not white space (or a byte order mark).
    Start,
    /// In the object, before a key or the closing brace.
    BeforeKey,
    InKey,
    BeforeColon,
    BeforeValue,
    InValue,
    /// The object is closed.
    Done,
    /// Not an object, or not JSON: only the copy is kept.
    Opaque,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Document {
    limits: Limits,
    pub(super) store: Store,
    pub(super) slots: Vec<Slot>,
    state: State,
    /// Nesting inside the current value; 0 = a scalar or not yet begun.
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// A direct child of the current container has begun and not been counted yet.
    child_open: bool,
    current: Option<Slot>,
}

impl Document {
    /// An empty document that takes its memory from `lease`.
    #[must_use]
    pub fn new(limits: Limits, lease: Lease) -> Self {
        Self {
            limits,
            store: Store::new(limits, lease),
            // A request or answer has some ten members.
            slots: Vec::with_capacity(12),
            state: State::Start,
            depth: 0,
            in_string: false,
            escaped: false,
            child_open: false,
            current: None,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let base = self.store.push(chunk);
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            if matches!(self.state, State::Done | State::Opaque) {
                break;
            }
            at += self.scan(base + at, rest);
        }
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.store.seen()
    }

    /// The kept beginning of the body.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.store.head()
    }

    /// The kept beginning is the whole body so far.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.store.is_whole()
    }

    /// Something was not kept because the VM's budget was used up.
    #[must_use]
    pub fn memory_short(&self) -> bool {
        self.store.memory_short()
    }

    /// The body began as a JSON object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        !matches!(self.state, State::Start | State::Opaque) || !self.slots.is_empty()
    }

    /// The body is an object whose end has not come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Start | State::Done | State::Opaque)
    }

    /// The object was closed: nothing is missing at its end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Done
    }

    /// The member whose value has begun and not ended.
    pub(super) fn begun(&self) -> Option<&Slot> {
        self.current.as_ref().filter(|_| self.state == State::InValue)
    }

    /// Takes at least one byte of `rest`, which begins at offset `at` of the body; returns how many.
    fn scan(&mut self, at: usize, rest: &[u8]) -> usize {
        match self.state {
            State::InKey => self.scan_string(at, rest, true),
            State::InValue if self.in_string => self.scan_string(at, rest, false),
            State::InValue => self.scan_value(at, rest),
            _ => {
                let Some(&byte) = rest.first() else { return 1 };
                self.scan_structure(at, byte)
            }
        }
    }

    fn scan_structure(&mut self, at: usize, byte: u8) -> usize {
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (State::Start, 0xEF | 0xBB | 0xBF) if at < 3 => {}
            (State::Start, b'{') => self.state = State::BeforeKey,
            (State::BeforeKey, b',') => {}
            (State::BeforeKey, b'}') => self.state = State::Done,
            (State::BeforeKey, b'"') => self.begin_key(at + 1),
            (State::BeforeColon, b':') => self.state = State::BeforeValue,
            (State::BeforeValue, _) => {
                self.begin_value(at);
                return 0;
            }
            _ => self.state = State::Opaque,
        }
        1
    }

    fn begin_key(&mut self, at: usize) {
        let in_head = at < self.store.head_end();
        let place = if in_head { Place::Head } else { Place::Tail };
        let start = if in_head { at } else { self.store.bytes(Place::Tail).len() };
        let slot = Slot { place, key: start..start, value: 0..0, cut: false, complete: false, children: 0 };
        self.current = Some(slot);
        self.state = State::InKey;
    }

    fn begin_value(&mut self, at: usize) {
        self.state = State::InValue;
        (self.depth, self.in_string, self.escaped, self.child_open) = (0, false, false, false);
        if at >= self.store.head_end() {
            self.move_to_tail();
        }
        let Some(slot) = self.current.as_mut() else { return };
        let start = if slot.place == Place::Head { at } else { self.store.bytes(Place::Tail).len() };
        slot.value = start..start;
    }

    /// Copies the current member out of the head: one that crosses its end must stand in one place to be whole.
    fn move_to_tail(&mut self) {
        let Some(slot) = self.current.as_mut().filter(|slot| slot.place == Place::Head) else { return };
        slot.key = self.store.move_to_tail(&slot.key, KEY_MAX);
        slot.value = self.store.move_to_tail(&slot.value, self.limits.member);
        slot.place = Place::Tail;
    }

    /// A string that is a key, or (part of) the value: everything up to and with its closing quote.
    fn scan_string(&mut self, at: usize, rest: &[u8], key: bool) -> usize {
        if std::mem::take(&mut self.escaped) {
            self.keep(at, rest.get(..1).unwrap_or_default(), key);
            return 1;
        }
        let Some(stop) = memchr2(b'"', b'\\', rest) else {
            self.keep(at, rest, key);
            return rest.len();
        };
        let quote = rest.get(stop) == Some(&b'"');
        let kept = if quote && key { stop } else { stop + 1 };
        self.keep(at, rest.get(..kept).unwrap_or_default(), key);
        if !quote {
            self.escaped = true;
        } else if key {
            self.state = State::BeforeColon;
        } else {
            self.in_string = false;
            if self.depth == 0 {
                self.end_value();
            }
        }
        stop + 1
    }

    fn scan_value(&mut self, at: usize, rest: &[u8]) -> usize {
        let mut len = 0;
        let mut ended = false;
        for &byte in rest {
            if self.depth == 0 && matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r') {
                ended = true;
                break;
            }
            len += 1;
            if self.step(byte) {
                ended = self.depth == 0 && !self.in_string;
                break;
            }
        }
        self.keep(at, rest.get(..len).unwrap_or_default(), false);
        if ended {
            self.end_value();
        }
        len
    }

    /// One byte of a value outside strings; true where the run must stop (a string begins, the value is closed).
    fn step(&mut self, byte: u8) -> bool {
        match byte {
            b'"' => {
                self.child_open |= self.depth == 1;
                self.in_string = true;
                return true;
            }
            b'{' | b'[' => {
                self.child_open |= self.depth == 1;
                self.depth += 1;
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.count_child();
                }
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b',' if self.depth == 1 => self.count_child(),
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => self.child_open |= self.depth == 1,
        }
        false
    }

    fn count_child(&mut self) {
        if std::mem::take(&mut self.child_open)
            && let Some(slot) = self.current.as_mut()
        {
            slot.children = slot.children.saturating_add(1);
        }
    }

    /// Notes that `bytes` at offset `at` belong to the current key or value, and keeps them where the head does not.
    fn keep(&mut self, at: usize, bytes: &[u8], key: bool) {
        let in_head = self.store.head_end().saturating_sub(at).min(bytes.len());
        if in_head < bytes.len() && self.may_move(key, at + in_head) {
            self.move_to_tail();
            return self.keep(at + in_head, bytes.get(in_head..).unwrap_or_default(), key);
        }
        let Some(slot) = self.current.as_mut() else { return };
        let cap = if key { KEY_MAX } else { self.limits.member };
        let range = if key { &mut slot.key } else { &mut slot.value };
        if slot.place == Place::Head {
            range.end = at + bytes.len();
            return;
        }
        let room = if slot.cut { 0 } else { cap.saturating_sub(range.len()) };
        let kept = self.store.keep_in_tail(bytes, room);
        range.end += kept;
        slot.cut |= kept < bytes.len();
    }

    /// True for a member in the head that goes on behind its end (at `end`) and is small enough to be kept elsewhere.
    fn may_move(&mut self, key: bool, end: usize) -> bool {
        let member = self.limits.member;
        let Some(slot) = self.current.as_mut().filter(|slot| slot.place == Place::Head) else { return false };
        let range = if key { &mut slot.key } else { &mut slot.value };
        range.end = range.end.max(end);
        range.len() <= if key { KEY_MAX } else { member }
    }

    fn end_value(&mut self) {
        self.state = State::BeforeKey;
        let Some(mut slot) = self.current.take() else { return };
        let kept = self.store.bytes(slot.place).len();
        slot.complete = !slot.cut && slot.value.end <= kept;
        if self.slots.len() < MEMBERS_MAX {
            self.slots.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    const WIDE: Limits = Limits { head: 1 << 20, member: 1 << 16 };

    fn read(limits: Limits, chunks: &[&[u8]]) -> Document {
        let mut document = Document::new(limits, Budget::new(1 << 24).export_lease());
        chunks.iter().for_each(|chunk| document.push(chunk));
        document
    }

    fn shown(document: &Document) -> Vec<(String, String, bool, u32)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        document.members().map(|m| (text(m.key), text(m.value), m.complete, m.children)).collect()
    }

    const BODY: &[u8] =
        b"\xEF\xBB\xBF {\"a\" : [1, {\"b\":\"]}\\\"\"}, []] , \"k\":\"v\\\\\",\"n\":-1.5e3, \"e\":[],\"t\":true}\n";

    #[test]
    fn finds_members_with_their_text_and_children() {
        let members = shown(&read(WIDE, &[BODY]));
        let expected = [
            ("a", r#"[1, {"b":"]}\""}, []]"#, 3),
            ("k", r#""v\\""#, 0),
            ("n", "-1.5e3", 0),
            ("e", "[]", 0),
            ("t", "true", 0),
        ];
        let expected: Vec<_> = expected.map(|(k, v, c)| (k.to_owned(), v.to_owned(), true, c)).into();
        assert_eq!(members, expected);
    }

    #[test]
    fn members_behind_the_head_are_kept_and_a_cut_one_says_so() {
        let body = br#"{"messages":["long long long"],"model":"gpt-4","usage":{"total":3}}"#;
        for head in 0..body.len() {
            let document = read(Limits { head, member: 64 }, &[body]);
            assert_eq!(document.get("model").unwrap().value, b"\"gpt-4\"", "head {head}");
            assert!(document.get("usage").unwrap().complete, "head {head}");
            let messages = document.get("messages").unwrap();
            assert_eq!(messages.children, 1);
            assert!(
                body.windows(messages.value.len().max(1)).any(|w| messages.value.is_empty() || w == messages.value)
            );
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_an_unfinished_value_is_seen() {
        let document = read(WIDE, &[br#"{"a":1,"a":2,"b":"unfin"#]);
        assert_eq!(document.get("a").unwrap().value, b"2");
        let cut = document.get("b").unwrap();
        assert_eq!((cut.value, cut.complete), (&b"\"unfin"[..], false));
        assert!(!document.is_closed());
    }

    #[test]
    fn what_is_not_an_object_is_only_copied() {
        for body in [&b"hello"[..], b"[1,2]", b"{nope", b"", b"\xFF\xFE"] {
            let document = read(WIDE, &[body]);
            assert_eq!((document.head(), document.members().count()), (body, 0));
        }
    }

    #[test]
    fn caps_hold_at_the_limit() {
        let mut body = b"{".to_vec();
        (0..2 * MEMBERS_MAX).for_each(|n| body.extend(format!("\"key{n}\":\"{}\",", "x".repeat(2000)).bytes()));
        let document = read(Limits { head: 10, member: 4096 }, &[&body]);
        assert_eq!(document.members().count(), MEMBERS_MAX);
        assert!(document.store.bytes(Place::Tail).len() <= crate::json::store::TAIL_MAX);
        assert_eq!(document.seen(), body.len());
    }

    #[test]
    fn a_member_cut_behind_the_head_does_not_run_into_the_next() {
        let document = read(Limits { head: 0, member: 6 }, &[br#"{"a":"0123456789","b":"xy"}"#]);
        let cut = document.get("a").unwrap();
        assert_eq!((cut.value, cut.complete), (&b"\"01234"[..], false));
        assert_eq!(document.get("b").unwrap().value, b"\"xy\"");
    }

    #[test]
    fn the_view_closes_cut_members_and_leaves_cut_numbers_and_words_out() {
        let body = br#"{"text":"0123456789","list":[1,2,3,4],"number":-1500000,"flag":false,"short":15}"#;
        let document = read(Limits { head: 3, member: 4 }, &[body]);
        assert_eq!(document.view().escape_ascii().to_string(), r#"{\"text\":\"012\",\"list\":[1],\"short\":15}"#);
        let open = read(WIDE, &[br#"{"number":15"#]);
        assert_eq!(&*open.view(), b"{}");
        assert_eq!(&*read(Limits { head: 0, member: 4 }, &[b" {}"]).view(), b"{}");
    }

    #[test]
    fn a_used_up_budget_keeps_less_and_says_so() {
        let mut document = Document::new(WIDE, Budget::new(8).export_lease());
        document.push(br#"{"a":"#);
        document.push(br#"[1,2,3,4,5,6],"b":2}"#);
        assert!(document.memory_short() && document.head().len() <= 8);
        assert!(document.is_closed());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_result(cuts in prop::collection::vec(0..BODY.len(), 0..6), head in 0..80_usize, member in 0..30_usize) {
            let limits = Limits { head, member };
            let mut borders = cuts;
            borders.extend([0, BODY.len()]);
            borders.sort_unstable();
            let chunks: Vec<&[u8]> = borders.windows(2).map(|w| &BODY[w[0]..w[1]]).collect();
            prop_assert_eq!(shown(&read(limits, &chunks)), shown(&read(limits, &[BODY])));
        }

        #[test]
        fn never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), head in 0..64_usize) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            shown(&read(Limits { head, member: 16 }, &chunks));
        }
    }
}
