//! Forms as JSON: `multipart/form-data` (RFC 7578 <https://www.rfc-editor.org/rfc/rfc7578>, RFC 2046 section 5.1) fed in
//! any pieces becomes a JSON object of its fields, so that what reads requests reads forms, too.
//!
//! ```text
//! name="model" … whisper-1          →  {"model":"whisper-1",
//! name="file"; filename="a.wav" …   →   "file":{"filename":"a.wav","mime":"audio/wav","bytes":32044,"sha256":"…"}}
//! ```
//!
//! A form that ends before its last delimiter leaves the object open, and its last file says `"cut":true`. Values of one
//! name that follow each other are a list. Lines may end with a line feed alone.

use memchr::memmem::Finder;

use super::media::{Content, End, HashBudget};
use crate::json::{Object, write_string};

/// Longest boundary (RFC 2046), bytes.
const BOUNDARY_MAX: usize = 70;
/// Longest header block of a part, bytes.
const HEAD_MAX: usize = 8 * 1024;
/// Bytes of a text field that are kept.
const TEXT_MAX: usize = 64 * 1024;
/// Parts that are read; those behind are passed over.
const PARTS_MAX: usize = 64;
/// Bytes that are looked at in one step.
const STEP: usize = 16 * 1024;
/// Longest name, file name or type that is kept, bytes.
const NAME_MAX: usize = 256;

/// Where in the form.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Before the first delimiter.
    Preamble,
    /// Behind a delimiter: `--` ends the form, anything else its line.
    Delimiter,
    Head,
    Body,
    /// Behind the last delimiter, or beyond what is read.
    Done,
}

/// A value that is being read.
#[derive(Debug)]
enum Field {
    Text(Vec<u8>, bool),
    File { filename: String, mime: Option<String>, content: Box<Content> },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct MultipartReader {
    delimiter: Finder<'static>,
    stage: Stage,
    /// What was not done with; shorter than a step and a delimiter, or than a header block.
    buffer: Vec<u8>,
    field: Option<Field>,
    name: String,
    /// Name of the last field, and its values so far, which are not handed out yet.
    pending: Option<(String, Vec<String>)>,
    names: Vec<String>,
    has_members: bool,
    parts: usize,
    hashing: HashBudget,
}

impl MultipartReader {
    /// A reader for a body of that `content-type`; none where it is no form, or has no boundary.
    #[must_use]
    pub fn from_content_type(content_type: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content_type).ok()?;
        let (kind, parameters) = text.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary").filter(|b| !b.is_empty() && b.len() <= BOUNDARY_MAX)?;
        Some(Self {
            delimiter: Finder::new(&format!("--{boundary}")).into_owned(),
            stage: Stage::Preamble,
            buffer: Vec::new(),
            field: None,
            name: String::new(),
            pending: None,
            names: Vec::new(),
            has_members: false,
            parts: 0,
            hashing: HashBudget::new(),
        })
    }

    /// Takes the next bytes of the form; calls `on_json` with the JSON that they become.
    pub fn push(&mut self, bytes: &[u8], on_json: &mut dyn FnMut(&[u8])) {
        self.hashing.next_piece();
        for step in bytes.chunks(STEP) {
            if self.stage == Stage::Done {
                return;
            }
            self.buffer.extend_from_slice(step);
            while self.step(on_json) {}
        }
    }

    /// The body has ended: hands out what had arrived.
    pub fn finish(&mut self, on_json: &mut dyn FnMut(&[u8])) {
        if self.stage == Stage::Done {
            return;
        }
        if self.stage == Stage::Body {
            let rest = std::mem::take(&mut self.buffer);
            self.take_body(&rest);
            self.end_field(true, on_json);
        }
        self.flush(on_json);
        self.stage = Stage::Done;
    }

    /// One step forward; false where more bytes are needed.
    fn step(&mut self, on_json: &mut dyn FnMut(&[u8])) -> bool {
        match self.stage {
            Stage::Preamble => self.find_delimiter(true, on_json),
            Stage::Body => self.find_delimiter(false, on_json),
            Stage::Delimiter => self.end_delimiter(on_json),
            Stage::Head => self.read_head(),
            Stage::Done => false,
        }
    }

    /// Up to a delimiter that stands at the beginning of a line.
    fn find_delimiter(&mut self, is_preamble: bool, on_json: &mut dyn FnMut(&[u8])) -> bool {
        let buffer = std::mem::take(&mut self.buffer);
        let found = self.delimiter.find(&buffer);
        let Some(at) = found else {
            // A delimiter and its line end may begin here.
            let kept = (self.delimiter.needle().len() + 1).min(buffer.len());
            let (done, rest) = buffer.split_at_checked(buffer.len() - kept).unwrap_or((&[], &buffer));
            if !is_preamble {
                self.take_body(done);
            }
            self.buffer = rest.to_vec();
            return false;
        };
        let before = buffer.get(..at).unwrap_or_default();
        let behind = buffer.get(at + self.delimiter.needle().len()..).unwrap_or_default();
        self.buffer = behind.to_vec();
        let line_end = before.strip_suffix(b"\r\n").or_else(|| before.strip_suffix(b"\n"));
        if is_preamble {
            self.stage = Stage::Delimiter;
            on_json(b"{");
            return true;
        }
        match line_end {
            Some(body) => {
                self.take_body(body);
                self.end_field(false, on_json);
                self.stage = Stage::Delimiter;
            }
            // Not at the beginning of a line: it belongs to the body.
            None if !before.is_empty() || self.field_is_begun() => {
                self.take_body(before);
                let needle = self.delimiter.needle().to_vec();
                self.take_body(&needle);
            }
            // An empty part: its head ended right before the delimiter.
            None => {
                self.end_field(false, on_json);
                self.stage = Stage::Delimiter;
            }
        }
        true
    }

    fn end_delimiter(&mut self, on_json: &mut dyn FnMut(&[u8])) -> bool {
        if self.buffer.starts_with(b"--") {
            self.flush(on_json);
            on_json(b"}");
            (self.stage, self.buffer) = (Stage::Done, Vec::new());
            return false;
        }
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            // White space may stand before the line's end; more than that is no form.
            if self.buffer.len() > HEAD_MAX {
                self.stage = Stage::Done;
            }
            return false;
        };
        self.buffer.drain(..=end);
        self.stage = Stage::Head;
        true
    }

    /// The header block of a part, up to its empty line.
    fn read_head(&mut self) -> bool {
        let Some(len) = head_len(&self.buffer) else {
            if self.buffer.len() > HEAD_MAX + STEP {
                self.stage = Stage::Done;
            }
            return false;
        };
        let head: Vec<u8> = self.buffer.drain(..len).collect();
        let head = String::from_utf8_lossy(&head);
        let disposition = header(&head, "content-disposition").unwrap_or_default();
        let mime = header(&head, "content-type").map(|mime| cut(mime).to_owned());
        self.name = cut(parameter(disposition, "name").unwrap_or_default()).to_owned();
        let filename = parameter(disposition, "filename").map(|name| cut(name).to_owned());
        let is_text =
            mime.as_deref().is_none_or(|mime| mime.starts_with("text/") || mime.starts_with("application/json"));
        self.parts += 1;
        self.field = (self.parts <= PARTS_MAX && !self.name.is_empty()).then(|| match filename {
            None if is_text => Field::Text(Vec::new(), false),
            filename => Field::File { filename: filename.unwrap_or_default(), mime, content: Box::new(Content::new()) },
        });
        self.stage = Stage::Body;
        true
    }

    fn field_is_begun(&self) -> bool {
        match &self.field {
            Some(Field::Text(text, _)) => !text.is_empty(),
            Some(Field::File { content, .. }) => content.len() > 0,
            None => false,
        }
    }

    fn take_body(&mut self, bytes: &[u8]) {
        match &mut self.field {
            Some(Field::Text(text, is_cut)) => {
                let room = TEXT_MAX.saturating_sub(text.len());
                text.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
                *is_cut |= bytes.len() > room;
            }
            Some(Field::File { content, .. }) => content.update(bytes, &mut self.hashing),
            None => {}
        }
    }

    fn end_field(&mut self, is_cut: bool, on_json: &mut dyn FnMut(&[u8])) {
        let mut value = String::new();
        match self.field.take() {
            Some(Field::Text(text, too_long)) => {
                let text = String::from_utf8_lossy(&text);
                write_string(&mut value, &if too_long { format!("{text} [cut]").into() } else { text });
            }
            Some(Field::File { filename, mime, content }) => {
                let mut object = Object::open(&mut value);
                object.text("filename", &filename);
                content.close(object, mime.as_deref(), if is_cut { End::Cut } else { End::Whole });
            }
            None => return,
        }
        match &mut self.pending {
            Some((name, values)) if *name == self.name => values.push(value),
            _ => {
                self.flush(on_json);
                self.pending = Some((std::mem::take(&mut self.name), vec![value]));
            }
        }
    }

    /// Hands out the last field, under a name that no other has.
    fn flush(&mut self, on_json: &mut dyn FnMut(&[u8])) {
        let Some((name, values)) = self.pending.take() else { return };
        let same = self.names.iter().filter(|known| **known == name).count();
        let mut member = String::from(if self.has_members { "," } else { "" });
        write_string(&mut member, &if same > 0 { format!("{name} ({})", same + 1) } else { name.clone() });
        member.push(':');
        match values.as_slice() {
            [value] => member.push_str(value),
            values => member.push_str(&format!("[{}]", values.join(","))),
        }
        self.names.push(name);
        self.has_members = true;
        on_json(member.as_bytes());
    }
}

/// Length of a header block with the empty line that ends it.
fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let end = memchr::memchr(b'\n', rest)?;
        at += end + 1;
        if rest.get(..end).unwrap_or_default().trim_ascii().is_empty() {
            return Some(at);
        }
    }
}

/// The value of a header of the block.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A parameter of a header's value, without quotes around it. (Escaped quotes are not in use: RFC 7578 section 2.)
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = value;
    loop {
        let (part, behind) = split_parameter(rest);
        if let Some((known, value)) = part.split_once('=')
            && known.trim().eq_ignore_ascii_case(name)
        {
            let value = value.trim();
            return Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value));
        }
        rest = behind?;
    }
}

/// The text up to a `;` that is not in quotes, and what stands behind it.
fn split_parameter(text: &str) -> (&str, Option<&str>) {
    let mut in_quotes = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b';' if !in_quotes => return (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            _ => {}
        }
    }
    (text, None)
}

fn cut(text: &str) -> &str {
    crate::trace::truncate(text, NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(pieces: &[&[u8]]) -> String {
        let mut reader = MultipartReader::from_content_type(b"multipart/form-data; boundary=b").unwrap();
        let mut out = Vec::new();
        let mut keep = |json: &[u8]| out.extend_from_slice(json);
        pieces.iter().for_each(|piece| reader.push(piece, &mut keep));
        reader.finish(&mut keep);
        String::from_utf8(out).unwrap()
    }

    const FORM: &str = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a;b.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--bx\n--c\r\n\
        --b\r\ncontent-disposition: form-data; name=g[]\n\n1\r\n--b  \r\nContent-Disposition: form-data; name=\"g[]\"\r\n\r\n\"2\"\r\n\
        --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n--b--\r\nepilogue";

    #[test]
    fn a_form_becomes_an_object() {
        let form = FORM.replace("\r\n--bx", "\r\n--Bx");
        let json: serde_json::Value = serde_json::from_str(&read(&[form.as_bytes()])).unwrap();
        let content = b"RIFF\r\n--Bx\n--c";
        let mut hash = crate::sha256::Sha256::new();
        hash.update(content);
        let mut hex = String::new();
        crate::sha256::write_hex(&mut hex, &hash.finish());
        let file = json!({"filename": "a;b.wav", "mime": "audio/wav", "bytes": content.len(), "sha256": hex});
        assert_eq!(json, json!({"model": "whisper-1", "file": file, "g[]": ["1", "\"2\""], "model (2)": ""}));
    }

    #[test]
    fn a_cut_form_leaves_the_object_open() {
        let form = FORM.split("RIFF").next().unwrap().to_owned() + "RIF";
        let cut = read(&[form.as_bytes()]);
        assert_eq!(
            cut,
            r#"{"model":"whisper-1","file":{"filename":"a;b.wav","mime":"audio/wav","bytes":3,"cut":true}"#
        );
        assert_eq!((read(&[b"no form"]), read(&[b"--b"])), (String::new(), "{".to_owned()));
    }

    #[test]
    fn caps_hold() {
        let part =
            |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
        let long = part("a", &"x".repeat(TEXT_MAX + 1)) + "--b--";
        let json: serde_json::Value = serde_json::from_str(&read(&[long.as_bytes()])).unwrap();
        assert_eq!(json["a"].as_str().unwrap().len(), TEXT_MAX + " [cut]".len());
        let many: String = (0..2 * PARTS_MAX).map(|n| part(&format!("n{n}"), "1")).collect();
        let json: serde_json::Value = serde_json::from_str(&read(&[many.as_bytes(), b"--b--"])).unwrap();
        assert_eq!(json.as_object().unwrap().len(), PARTS_MAX);
        let mut reader = MultipartReader::from_content_type(b"multipart/form-data; boundary=b").unwrap();
        let endless = format!("--b\r\n{}", "x: y\r\n".repeat(100_000));
        reader.push(endless.as_bytes(), &mut |_| {});
        assert!(reader.buffer.len() <= HEAD_MAX + 2 * STEP && reader.stage == Stage::Done);
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        for (content_type, delimiter) in [
            ("multipart/form-data; boundary=\"a b\"", Some("--a b")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=x", Some("--x")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=x", None),
            ("application/json", None),
        ] {
            let reader = MultipartReader::from_content_type(content_type.as_bytes());
            let found = reader.map(|reader| reader.delimiter.needle().to_vec());
            assert_eq!(found, delimiter.map(|text| text.as_bytes().to_vec()), "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in prop::collection::vec(0..FORM.len(), 0..8), end in 0..=FORM.len()) {
            let form = &FORM.as_bytes()[..end];
            let mut borders: Vec<usize> = cuts.into_iter().filter(|cut| *cut < end).collect();
            borders.extend([0, end]);
            borders.sort_unstable();
            let pieces: Vec<&[u8]> = borders.windows(2).map(|w| &form[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[form]));
        }

        #[test]
        fn it_never_panics(pieces in prop::collection::vec("(--b|\r\n|\n|name=a|content-disposition:;|-|x){0,12}", 0..6)) {
            let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            prop_assert_eq!(read(&bytes), read(&[pieces.concat().as_bytes()]));
        }
    }
}
