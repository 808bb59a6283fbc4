//! A JSON array whose elements are handed on one by one, as Gemini's `streamGenerateContent` sends it without `alt=sse`.
//!
//! The elements are found by their brackets and quotes (RFC 8259 <https://www.rfc-editor.org/rfc/rfc8259>) and not
//! checked: who reads one does that. An object in the place of the array, as errors come, is one element.

use memchr::memchr2;

use super::buffer::Buffer;
use crate::budget::Lease;
use crate::json::trim_start;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Before the array.
    Start,
    /// In the array, before an element or behind one.
    Between,
    Element,
    /// Behind the array.
    Closed,
    /// In what is no array.
    Other,
}

/// Push parser; the elements are the same for any split of the bytes.
#[derive(Debug)]
pub struct ArraySplitter {
    place: Place,
    /// Objects and arrays that are open in the element.
    depth: u32,
    in_string: bool,
    /// The last byte was a backslash in a string.
    escaped: bool,
    /// There is no array: the element is the whole text.
    alone: bool,
    /// The beginning of an unfinished element; empty while elements arrive whole.
    element: Buffer,
    /// The element in work is longer than may be kept: the rest of it is passed over.
    too_long: bool,
    oversize: u32,
}

impl ArraySplitter {
    /// A splitter for elements of up to `max` bytes, which takes its memory from `lease`.
    #[must_use]
    pub fn new(max: usize, lease: Lease) -> Self {
        Self {
            place: Place::Start,
            depth: 0,
            in_string: false,
            escaped: false,
            alone: false,
            element: Buffer::of_json(max, lease),
            too_long: false,
            oversize: 0,
        }
    }

    /// Elements that were longer than the limit and passed over.
    #[must_use]
    pub fn oversize(&self) -> u32 {
        self.oversize
    }

    /// The end of the array came.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.place == Place::Closed
    }

    /// What came of an element that is not finished; empty where it was too long to be kept.
    #[must_use]
    pub fn open_element(&mut self) -> &[u8] {
        if !self.element.end() {
            self.element.clear();
        }
        self.element.bytes()
    }

    /// Takes the next bytes; calls `on_element` for each element that they complete.
    pub fn push(&mut self, mut bytes: &[u8], on_element: &mut impl FnMut(&[u8])) {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match self.place {
                Place::Start | Place::Between => {
                    if self.passes(first) {
                        trim_start(rest)
                    } else {
                        bytes
                    }
                }
                Place::Element => self.read_element(bytes, on_element),
                Place::Closed | Place::Other => return,
            };
        }
    }

    /// Takes a byte outside elements; false where it is the first one of an element.
    fn passes(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (place, b' ' | b'\t' | b'\n' | b'\r') | (place @ Place::Between, b',') => place,
            // A byte order mark.
            (Place::Start, 0xEF | 0xBB | 0xBF) => Place::Start,
            (Place::Start, b'[') => Place::Between,
            (Place::Start, b'{') => {
                self.alone = true;
                Place::Element
            }
            (Place::Start, _) => Place::Other,
            (_, b']') => Place::Closed,
            _ => Place::Element,
        };
        self.place != Place::Element
    }

    fn read_element<'a>(&mut self, bytes: &'a [u8], on_element: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let end = self.find_end(bytes);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let is_whole = end.is_some() && self.element.is_empty() && piece.len() <= self.element.direct_max();
        let mut keeps = || self.element.append(piece) && (end.is_none() || self.element.end());
        if !is_whole && !self.too_long && !keeps() {
            self.too_long = true;
            self.oversize = self.oversize.saturating_add(1);
            self.element.clear();
        }
        if end.is_some() {
            if !std::mem::take(&mut self.too_long) {
                on_element(if is_whole { piece } else { self.element.bytes() });
            }
            self.element.clear();
            self.place = if self.alone { Place::Closed } else { Place::Between };
        }
        rest
    }

    /// Where the element ends in `bytes`. A number or word ends before what separates it from the next element.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.in_string {
                at = self.find_string_end(bytes, at)?;
                if self.depth == 0 {
                    return Some(at);
                }
            }
            match *bytes.get(at)? {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                b',' | b']' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => return Some(at),
                _ => {}
            }
            at += 1;
        }
    }

    /// Behind the quote that ends the string in which `at` is.
    fn find_string_end(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            if self.escaped {
                bytes.get(at)?;
                self.escaped = false;
                at += 1;
            }
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            self.in_string = bytes.get(at) != Some(&b'"');
            self.escaped = self.in_string;
            at += 1;
            if !self.in_string {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;
    use serde_json::Value;

    struct Outcome {
        elements: Vec<String>,
        oversize: u32,
        closed: bool,
        open: String,
    }

    fn split(max: usize, pieces: &[&[u8]]) -> Outcome {
        let mut elements = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut splitter = ArraySplitter::new(max, Budget::new(1 << 20).export_lease());
        for piece in pieces {
            splitter.push(piece, &mut |element| elements.push(text(element)));
            assert!(splitter.open_element().len() <= max);
        }
        Outcome {
            elements,
            oversize: splitter.oversize(),
            closed: splitter.is_closed(),
            open: text(splitter.open_element()),
        }
    }

    fn assert_same(a: &Outcome, b: &Outcome) {
        assert_eq!(a.elements, b.elements);
        assert_eq!((a.oversize, a.closed, &a.open), (b.oversize, b.closed, &b.open));
    }

    fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut borders: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        borders.extend([0, bytes.len()]);
        borders.sort_unstable();
        borders.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
    }

    #[test]
    fn reads_elements_of_every_kind_and_stops_behind_the_array() {
        let body = "\u{FEFF} [{\"a\":\"]}\\\"\\\\\"}\r\n,\n[1,[2]] , \"x,]\\u005d\",-1.5e3 ,true,null\n] [4]";
        let outcome = split(64, &[body.as_bytes()]);
        let expected = ["{\"a\":\"]}\\\"\\\\\"}", "[1,[2]]", "\"x,]\\u005d\"", "-1.5e3", "true", "null"];
        assert_eq!(outcome.elements, expected);
        assert!(outcome.closed && outcome.open.is_empty());
        assert_eq!(split(64, &[b"[1]"]).elements, ["1"]);
        assert!(split(64, &[b"[]"]).closed && !split(64, &[b"["]).closed);
    }

    #[test]
    fn an_element_is_handed_on_as_soon_as_it_is_whole() {
        let mut splitter = ArraySplitter::new(64, Budget::new(1 << 20).export_lease());
        let mut seen = Vec::new();
        for (piece, whole) in [("[{\"a\":", 0), ("1}", 1), (",\n{\"b\"", 1), (":2}\n", 2), ("]", 2)] {
            assert!(!splitter.is_closed());
            splitter.push(piece.as_bytes(), &mut |element| seen.push(element.to_vec()));
            assert_eq!(seen.len(), whole, "{piece}");
        }
        assert!(splitter.is_closed());
    }

    #[test]
    fn an_object_in_place_of_the_array_is_one_element_and_anything_else_is_none() {
        let error = split(64, &[b"{\"error\":{}}\n{}"]);
        assert_eq!((error.elements, error.closed), (vec!["{\"error\":{}}".to_owned()], true));
        let text = split(64, &[b"no [1]"]);
        assert_eq!((text.elements.len(), text.closed), (0, false));
    }

    #[test]
    fn a_cut_array_delivers_nothing_unfinished() {
        let outcome = split(64, &[b"[{\"a\":1},{\"b\":"]);
        assert_eq!((outcome.elements.len(), outcome.closed, outcome.open.as_str()), (1, false, "{\"b\":"));
    }

    #[test]
    fn an_element_over_the_limit_is_passed_over_and_counted() {
        let body = b"[[1,2,3,4,5],[1,2,3],123456789,\"12345678\",\"123456\"]";
        for size in [1, 3, body.len()] {
            let outcome = split(8, &body.chunks(size).collect::<Vec<_>>());
            assert_eq!(outcome.elements, ["[1,2,3]", "\"123456\""]);
            assert_eq!((outcome.oversize, outcome.closed), (3, true));
        }
        let budget = Budget::new(2048);
        let mut splitter = ArraySplitter::new(1 << 20, budget.export_lease());
        let mut seen = 0;
        for piece in [&b"[["[..], &b"1,".repeat(3000), b"1],2]"] {
            splitter.push(piece, &mut |_| seen += 1);
        }
        assert_eq!((seen, splitter.oversize()), (1, 1));
        assert!(budget.used() <= 2048);
    }

    #[test]
    fn reads_recordings_as_serde_json_does() {
        let Ok(cassettes) = testkit::cassettes::load(&["gemini.streamGenerateContent", "vertex.streamGenerateContent"])
        else {
            return;
        };
        let mut arrays = 0;
        for cassette in &cassettes {
            let body = cassette.response.body.as_slice();
            let Ok(Value::Array(expected)) = serde_json::from_slice(body) else { continue };
            let outcome = split(1 << 20, &body.chunks(11).collect::<Vec<_>>());
            let read: Vec<Value> = outcome.elements.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            assert_eq!((read, outcome.closed), (expected, true), "{}", cassette.id);
            arrays += 1;
        }
        assert!(arrays > 0, "no recording is an array");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\\\[\\]{},é\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\\]}]{0,3}", inner), 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_array_in_any_split_is_what_serde_json_reads(all in prop::collection::vec(json(), 0..6), pretty in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let array = Value::from(all.clone());
            let body = if pretty { serde_json::to_string_pretty(&array) } else { serde_json::to_string(&array) }.unwrap();
            let outcome = split(1 << 16, &pieces(body.as_bytes(), &cuts));
            let read: Vec<Value> = outcome.elements.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!((read, outcome.closed), (all, true));
        }

        #[test]
        fn any_split_of_anything_gives_the_same(body in "[\\[\\]{}\",\\\\ a1:\u{FEFF}]{0,40}", max in 0usize..12, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            assert_same(&split(max, &pieces(body.as_bytes(), &cuts)), &split(max, &[body.as_bytes()]));
        }

        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..60)) {
            split(16, &[b"[", &body]);
            split(16, &[&body]);
        }
    }
}
