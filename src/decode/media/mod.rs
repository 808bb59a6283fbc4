//! Inline media in JSON: base64 is replaced while the bytes pass, by what a trace tells of it, so that an image of 5 MB
//! fills neither a capture nor the trace.
//!
//! ```text
//! {"url":"data:image/png;base64,iVBORw0K…"}  →  {"url":{"mime":"image/png","bytes":70,"sha256":"…"}}
//! ```
//!
//! Replaced are strings that are a data URI with base64 (RFC 2397 <https://www.rfc-editor.org/rfc/rfc2397>) of at least
//! [`URI_MIN`] bytes, under any name, and strings of at least [`BARE_MIN`] bytes that begin with so many characters of
//! base64, under a name that carries media in an LLM API (`names.rs`). Everything else passes byte for byte, and so does
//! text that is not JSON, or deeper than 128 levels from there on. Opaque signatures and encrypted reasoning of that length
//! are replaced, too; of the address of media its query is dropped, which may be a key to it.
//!
//! At most [`BARE_MIN`] bytes are held back. What turns out not to be base64 behind them is lost, and the placeholder
//! says `"invalid":true` of the bytes before it; one whose string the body's end has cut says `"cut":true` and has no
//! hash. There is no hash either beyond [`HASH_MAX`] bytes of a body or [`PIECE_HASH_MAX`] of a piece.

mod base64;
mod content;
mod escape;
mod judge;
mod levels;
mod mime;
mod names;
mod replaced;

use escape::string_end;
use judge::{Bare, Verdict, judge};
use levels::Levels;
use names::{Class, NAME_MAX, class, is_media_kind};
use replaced::Replaced;

pub(crate) use content::{Content, End, HashBudget};

pub use content::{HASH_MAX, PIECE_HASH_MAX};
pub use judge::{BARE_MIN, URI_MIN};

/// Replaces inline media in a JSON text fed in any pieces.
#[derive(Debug)]
pub struct MediaFilter {
    stage: Stage,
    levels: Levels,
    /// The next string of an object is a name.
    at_name: bool,
    /// The class of the last name of the innermost object.
    class: Class,
    /// A short string: a name, or what a sibling tells.
    short: Vec<u8>,
    hint: Option<Hint>,
    /// The beginning of a string, quote included, that is not judged yet.
    held: Vec<u8>,
    hashing: HashBudget,
    /// Something was replaced.
    replaces: bool,
}

#[derive(Debug)]
enum Stage {
    /// Before the first byte that tells whether it is JSON.
    Start,
    /// Between strings.
    Between,
    /// In a string that passes.
    Text { what: Class, is_escaped: bool },
    /// In a string that is held back.
    Judging,
    /// In a string that is replaced.
    Media(Box<Replaced>),
    /// In the address of media: it passes up to its query.
    Url { is_escaped: bool },
    /// In the query, which is dropped.
    Query { is_escaped: bool },
    /// Everything passes.
    Transparent,
}

/// What a member told of the media beside or below it.
#[derive(Debug)]
struct Hint {
    depth: usize,
    mime: Option<String>,
}

impl Default for MediaFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl MediaFilter {
    /// A filter for one body. It holds some 2 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stage: Stage::Start,
            levels: Levels::new(),
            at_name: false,
            class: Class::Other,
            short: Vec::new(),
            hint: None,
            held: Vec::new(),
            hashing: HashBudget::new(),
            replaces: false,
        }
    }

    /// Something was replaced.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// Takes the next bytes; calls `on_bytes` with what is to be read in their place.
    pub fn push(&mut self, bytes: &[u8], on_bytes: &mut impl FnMut(&[u8])) {
        self.pass(bytes, on_bytes);
    }

    /// The body has ended: hands out what was held back, and a placeholder for media that was cut.
    pub fn finish(&mut self, on_bytes: &mut impl FnMut(&[u8])) {
        match std::mem::replace(&mut self.stage, Stage::Transparent) {
            Stage::Judging => on_bytes(&std::mem::take(&mut self.held)),
            Stage::Media(media) => on_bytes(media.placeholder(true, &mut self.hashing).as_bytes()),
            _ => {}
        }
    }

    fn pass(&mut self, bytes: &[u8], on_bytes: &mut dyn FnMut(&[u8])) {
        self.hashing.next_piece();
        // `bytes[passed..at]` may be handed out as it is.
        let (mut passed, mut at) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.stage {
                Stage::Transparent => at = bytes.len(),
                Stage::Start => at += self.start(rest),
                Stage::Between => {
                    at += self.between(rest);
                    if matches!(self.stage, Stage::Judging) {
                        // From its quote on; it is handed out, unless it is media.
                        at = self.judge_in_place(bytes, passed, at, on_bytes);
                        passed = if matches!(self.stage, Stage::Text { .. } | Stage::Url { .. }) { passed } else { at };
                    }
                }
                Stage::Text { .. } => at += self.text(rest),
                Stage::Judging => {
                    at += self.judge_held(rest, on_bytes);
                    passed = at;
                }
                Stage::Media(_) => {
                    at += self.media(rest, on_bytes);
                    passed = at;
                }
                Stage::Url { .. } => {
                    at += self.url(rest);
                    if matches!(self.stage, Stage::Query { .. }) {
                        hand_out(bytes.get(passed..at).unwrap_or_default(), on_bytes);
                        passed = at;
                    }
                }
                Stage::Query { is_escaped } => {
                    let end = string_end(rest, is_escaped);
                    at += end.unwrap_or(rest.len());
                    // The quote passes.
                    passed = if end.is_some() { at - 1 } else { at };
                    self.stage = if end.is_some() { Stage::Between } else { continue };
                }
            }
        }
        hand_out(bytes.get(passed..).unwrap_or_default(), on_bytes);
    }

    /// White space and a byte order mark may stand before the text.
    fn start(&mut self, bytes: &[u8]) -> usize {
        let is_before = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0xEF | 0xBB | 0xBF);
        let before = bytes.iter().position(|byte| !is_before(byte)).unwrap_or(bytes.len());
        match bytes.get(before) {
            None => {}
            Some(b'{' | b'[') => self.stage = Stage::Between,
            Some(_) => self.stage = Stage::Transparent,
        }
        before
    }

    /// Walks up to the next string, behind its quote; or up to it where it is to be judged.
    fn between(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => return at + self.begin_string(bytes.get(at + 1)),
                b'{' | b'[' if !self.open(*byte == b'{') => {
                    self.stage = Stage::Transparent;
                    return at;
                }
                b'}' | b']' => self.close(),
                b',' => self.at_name = self.levels.in_object(),
                b':' => self.at_name = false,
                _ => {}
            }
        }
        bytes.len()
    }

    fn open(&mut self, is_object: bool) -> bool {
        let class = self.value_class();
        self.at_name = is_object;
        self.class = Class::Other;
        self.levels.open(is_object, class)
    }

    fn close(&mut self) {
        self.levels.close();
        self.class = Class::Other;
        let depth = self.levels.depth();
        self.hint = self.hint.take().filter(|hint| hint.depth <= depth);
    }

    /// The class of the value at hand: its name's, or its array's.
    fn value_class(&self) -> Class {
        if self.levels.in_object() { self.class } else { self.levels.class() }
    }

    /// At a quote with `next` behind it: says how many bytes of the string are passed over with it.
    fn begin_string(&mut self, next: Option<&u8>) -> usize {
        self.short.clear();
        if self.at_name {
            self.class = Class::Other;
            self.stage = Stage::Text { what: Class::Other, is_escaped: false };
            return 1;
        }
        let class = self.value_class();
        if class == Class::Url && self.is_address_of_media() && next.is_some_and(|byte| !b"dD\\".contains(byte)) {
            self.stage = Stage::Url { is_escaped: false };
            return 1;
        }
        let may_be_media =
            matches!(class, Class::Media | Class::Data) || next.is_none_or(|byte| b"dD\\".contains(byte));
        if may_be_media {
            self.stage = Stage::Judging;
            return 0;
        }
        self.stage = Stage::Text { what: class, is_escaped: false };
        1
    }

    /// In a string that passes: says how many of `bytes` belong to it.
    fn text(&mut self, bytes: &[u8]) -> usize {
        let Stage::Text { what, is_escaped } = &mut self.stage else { return bytes.len() };
        let end = string_end(bytes, is_escaped);
        let what = *what;
        let text = bytes.get(..end.map_or(bytes.len(), |end| end - 1)).unwrap_or_default();
        if self.at_name || matches!(what, Class::Mime | Class::Kind) {
            let room = (mime::TYPE_MAX + 1).saturating_sub(self.short.len());
            self.short.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        }
        if end.is_some() {
            self.stage = Stage::Between;
            self.end_string(what);
        }
        end.unwrap_or(bytes.len())
    }

    fn end_string(&mut self, what: Class) {
        if self.at_name {
            self.class = if self.short.len() > NAME_MAX { Class::Other } else { class(&self.short) };
            return;
        }
        let depth = self.levels.depth();
        let mime = match what {
            Class::Mime => mime::from_name(&self.short),
            Class::Kind if self.hint().is_none() && is_media_kind(&self.short) => None,
            _ => return,
        };
        if mime.is_some() || what == Class::Kind {
            self.hint = Some(Hint { depth, mime });
        }
    }

    /// The object tells that it has media: by its name, or by what stands in it.
    fn is_address_of_media(&self) -> bool {
        self.levels.is_under(Class::Media) || self.hint().is_some()
    }

    /// A string that is no media: under a name of media it may be an address.
    fn begin_text(&mut self, text: &[u8]) {
        let what = self.value_class();
        let is_url = match what {
            Class::Media => text.starts_with(b"http:") || text.starts_with(b"https:"),
            Class::Url => self.is_address_of_media(),
            _ => false,
        };
        let is_escaped = false;
        self.stage = if is_url { Stage::Url { is_escaped } } else { Stage::Text { what, is_escaped } };
    }

    /// In an address: says how many of `bytes` pass, up to its query or with its quote.
    fn url(&mut self, bytes: &[u8]) -> usize {
        let Stage::Url { is_escaped } = &mut self.stage else { return 0 };
        let mut at = usize::from(std::mem::take(is_escaped));
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(stop) = memchr::memchr3(b'?', b'"', b'\\', rest) else { break };
            at += stop;
            match rest.get(stop) {
                Some(b'"') => {
                    self.stage = Stage::Between;
                    return at + 1;
                }
                Some(b'?') => {
                    self.stage = Stage::Query { is_escaped: false };
                    return at;
                }
                _ => at += 2,
            }
        }
        *is_escaped = at > bytes.len();
        bytes.len()
    }

    /// What bare base64 needs here to be media.
    fn bare(&self) -> Bare {
        match self.value_class() {
            Class::Media => Bare::Enough,
            Class::Data if self.levels.is_under(Class::Media) || self.hint().is_some() => Bare::Enough,
            Class::Data => Bare::Sniffed,
            _ => Bare::Never,
        }
    }

    /// What a sibling tells, or a sibling of the container.
    fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref().filter(|hint| hint.depth + 1 >= self.levels.depth())
    }

    /// Judges the string that begins at `bytes[at]` with its quote; says where to go on.
    fn judge_in_place(&mut self, bytes: &[u8], passed: usize, at: usize, on_bytes: &mut dyn FnMut(&[u8])) -> usize {
        let (before, string) = bytes.split_at(at);
        let before = before.get(passed..).unwrap_or_default();
        let text = string.get(1..).unwrap_or_default();
        match judge(text.get(..BARE_MIN.min(text.len())).unwrap_or_default(), self.bare()) {
            Verdict::Text => {
                self.begin_text(text);
                at + 1
            }
            Verdict::More => {
                hand_out(before, on_bytes);
                self.held.extend_from_slice(string);
                bytes.len()
            }
            Verdict::Media { skip, mime } => {
                hand_out(before, on_bytes);
                self.begin_media(mime);
                at + 1 + skip
            }
        }
    }

    /// Judges the string that is held, with what has come of it since; says how many of `bytes` are done with.
    fn judge_held(&mut self, bytes: &[u8], on_bytes: &mut dyn FnMut(&[u8])) -> usize {
        let before = self.held.len();
        let more = (BARE_MIN + 1).saturating_sub(before).min(bytes.len());
        self.held.extend_from_slice(bytes.get(..more).unwrap_or_default());
        let verdict = judge(self.held.get(1..).unwrap_or_default(), self.bare());
        if verdict == Verdict::More {
            return more;
        }
        let held = std::mem::take(&mut self.held);
        let (quote, text) = held.split_at(held.len().min(1));
        let done = match verdict {
            Verdict::Media { skip, mime } => {
                self.begin_media(mime);
                skip + self.media(text.get(skip..).unwrap_or_default(), on_bytes)
            }
            _ => {
                self.begin_text(text);
                let done = if matches!(self.stage, Stage::Url { .. }) { self.url(text) } else { self.text(text) };
                hand_out(quote, on_bytes);
                hand_out(text.get(..done).unwrap_or_default(), on_bytes);
                done
            }
        };
        (done + 1).saturating_sub(before)
    }

    fn begin_media(&mut self, of_uri: Option<String>) {
        let depth = self.levels.depth();
        let hint = self.hint().and_then(|hint| Some((hint.depth == depth, hint.mime.clone()?)));
        let (beside, above) = match hint {
            Some((true, mime)) => (Some(mime), None),
            Some((false, mime)) => (None, Some(mime)),
            None => (None, None),
        };
        self.replaces = true;
        self.stage = Stage::Media(Box::new(Replaced::new(of_uri.or(beside), above)));
    }

    /// In media: says how many of `bytes` belong to it.
    fn media(&mut self, bytes: &[u8], on_bytes: &mut dyn FnMut(&[u8])) -> usize {
        let Stage::Media(media) = &mut self.stage else { return bytes.len() };
        let Some(end) = media.take(bytes, &mut self.hashing) else { return bytes.len() };
        if let Stage::Media(media) = std::mem::replace(&mut self.stage, Stage::Between) {
            on_bytes(media.placeholder(false, &mut self.hashing).as_bytes());
        }
        end
    }
}

/// What is told of media that are this base64.
pub(crate) fn describe_base64(text: &str) -> String {
    let mut hashing = HashBudget::new();
    let mut media = Replaced::new(None, None);
    media.take(text.as_bytes(), &mut hashing);
    media.placeholder(false, &mut hashing)
}

fn hand_out(bytes: &[u8], on_bytes: &mut dyn FnMut(&[u8])) {
    if !bytes.is_empty() {
        on_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine;
    use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";

    fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut keep = |bytes: &[u8]| out.extend_from_slice(bytes);
        let mut filter = MediaFilter::new();
        pieces.iter().for_each(|piece| filter.push(piece, &mut keep));
        filter.finish(&mut keep);
        out
    }

    /// Filters `json`, which is a text of JSON, and reads the result.
    fn tree(json: &str) -> Value {
        let out = filtered(&[json.as_bytes()]);
        let bytewise: Vec<&[u8]> = json.as_bytes().chunks(1).collect();
        assert_eq!(filtered(&bytewise), out, "byte by byte");
        serde_json::from_slice(&out).unwrap()
    }

    fn placeholder(mime: &str, bytes: &[u8]) -> Value {
        let mut hash = crate::sha256::Sha256::new();
        hash.update(bytes);
        let mut hex = String::new();
        crate::sha256::write_hex(&mut hex, &hash.finish());
        json!({"mime": mime, "bytes": bytes.len(), "sha256": hex})
    }

    /// Bytes that begin with `start` and whose base64 is long enough.
    fn long(start: &[u8]) -> Vec<u8> {
        [start, &(0..1000).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>()].concat()
    }

    #[test]
    fn a_data_uri_is_replaced_under_any_name() {
        let uri = |mime: &str, bytes: &[u8]| format!("data:{mime};base64,{}", STANDARD.encode(bytes));
        let json = json!([{"url": uri("image/png", PNG), "x": [uri("text/plain;charset=utf-8", &[7; 50])]}, uri("", &long(PNG))]);
        let expected = json!([
            {"url": uri("image/png", PNG), "x": [placeholder("text/plain", &[7; 50])]},
            placeholder("image/png", &long(PNG)),
        ]);
        assert_eq!(tree(&json.to_string()), expected);
        let names = json!({uri("image/png", &long(PNG)): 1});
        assert_eq!(tree(&names.to_string()), names);
    }

    #[test]
    fn signatures_and_encrypted_reasoning_are_replaced_too() {
        let raw = long(b"raw");
        let opaque = STANDARD.encode(&raw);
        for (text, pointer) in [
            (format!(r#"{{"text":"a","thoughtSignature":"{opaque}"}}"#), "/thoughtSignature"),
            (format!(r#"{{"type":"thinking","thinking":"","signature":"{opaque}"}}"#), "/signature"),
            (format!(r#"{{"type":"redacted_thinking","data":"{opaque}"}}"#), "/data"),
            (format!(r#"{{"type":"reasoning.encrypted","data":"{opaque}"}}"#), "/data"),
            (format!(r#"{{"type":"reasoning","encrypted_content":"{opaque}"}}"#), "/encrypted_content"),
            (
                format!(r#"{{"reasoningContent":{{"redactedContent":"{opaque}"}}}}"#),
                "/reasoningContent/redactedContent",
            ),
        ] {
            assert_eq!(tree(&text).pointer(pointer), Some(&placeholder("application/octet-stream", &raw)), "{text}");
        }
        let short = r#"{"thoughtSignature":"c2hvcnQ=","signature":"f(x: int) -> int"}"#;
        assert_eq!(tree(short), serde_json::from_str::<Value>(short).unwrap());
    }

    #[test]
    fn addresses_of_media_lose_their_queries() {
        for (text, expected) in [
            (
                r#"{"type":"image_url","image_url":{"url":"https://x/a.png?sig=s&e=1","detail":"low"}}"#,
                r#"{"type":"image_url","image_url":{"url":"https://x/a.png","detail":"low"}}"#,
            ),
            (
                r#"{"type":"input_image","image_url":"https://x/a?s=\"t"}"#,
                r#"{"type":"input_image","image_url":"https://x/a"}"#,
            ),
            (r#"{"image_url":"https:\/\/x\/a?s"}"#, r#"{"image_url":"https:\/\/x\/a"}"#),
            (r#"{"source":{"type":"url","url":"https://x/a?s"}}"#, r#"{"source":{"type":"url","url":"https://x/a"}}"#),
            (
                r#"{"fileData":{"mimeType":"a/b","fileUri":"https://x/a?s","y":"?"}}"#,
                r#"{"fileData":{"mimeType":"a/b","fileUri":"https://x/a","y":"?"}}"#,
            ),
            (
                r#"{"type":"input_file","file_url":"https://x/a?s"}"#,
                r#"{"type":"input_file","file_url":"https://x/a"}"#,
            ),
            (
                r#"{"video_url":{"url":"https://x/a"},"images":["http://x/b?s","?"]}"#,
                r#"{"video_url":{"url":"https://x/a"},"images":["http://x/b","?"]}"#,
            ),
            // No media: what a tool searched for, what a user asks.
            (
                r#"{"url":"https://x/a?q=1","document":"why?","text":"https://x/a?b"}"#,
                r#"{"url":"https://x/a?q=1","document":"why?","text":"https://x/a?b"}"#,
            ),
        ] {
            assert_eq!(tree(text), serde_json::from_str::<Value>(expected).unwrap(), "{text}");
            assert_eq!(String::from_utf8(filtered(&[text.as_bytes()])).unwrap(), expected);
        }
    }

    #[test]
    fn bare_base64_is_replaced_where_apis_carry_it() {
        let (png, raw) = (long(PNG), long(b"raw"));
        let (image, bytes) = (STANDARD.encode(&png), STANDARD.encode(&raw));
        for (text, pointer, expected) in [
            (format!(r#"{{"input_audio":{{"data":"{bytes}","format":"wav"}}}}"#), "/input_audio/data", "?"),
            (format!(r#"{{"input_audio":{{"format":"wav","data":"{bytes}"}}}}"#), "/input_audio/data", "audio/wav"),
            (format!(r#"{{"input_audio":"{bytes}"}}"#), "/input_audio", "?"),
            (format!(r#"{{"data":[{{"b64_json":"{image}"}}]}}"#), "/data/0/b64_json", "image/png"),
            (
                format!(r#"{{"source":{{"type":"base64","media_type":"image/gif","data":"{image}"}}}}"#),
                "/source/data",
                "image/gif",
            ),
            (format!(r#"{{"inlineData":{{"mimeType":"a/b","data":"{bytes}"}}}}"#), "/inlineData/data", "a/b"),
            (
                format!(r#"{{"image":{{"format":"png","source":{{"bytes":"{bytes}"}}}}}}"#),
                "/image/source/bytes",
                "image/png",
            ),
            (
                format!(r#"{{"image":{{"format":"gif","source":{{"bytes":"{image}"}}}}}}"#),
                "/image/source/bytes",
                "image/png",
            ),
            (format!(r#"{{"format":"json","images":["{bytes}","{image}"]}}"#), "/images/1", "image/png"),
            (format!(r#"[{{"type":"image_generation_call","result":"{bytes}"}}]"#), "/0/result", "?"),
            (format!(r#"{{"type":"x","result":"{image}"}}"#), "/result", "image/png"),
            (format!(r#"[{{"mime_type":"audio/wav"}},{{"data":"{image}"}}]"#), "/1/data", "image/png"),
            (format!(r#"{{"a":"\"","b\":":"","image":"{image}"}}"#), "/image", "image/png"),
            (format!(r#"{{"mime_type":"audio/l16","a":{{"b":[]}},"data":"{bytes}"}}"#), "/data", "audio/l16"),
            (
                format!(r#"{{"image" : "{}"}}"#, image.replace('/', r"\/").replace('+', r"\u002B")),
                "/image",
                "image/png",
            ),
            (format!(r#"{{"image":"{}"}}"#, URL_SAFE_NO_PAD.encode(&png)), "/image", "image/png"),
            (
                format!(
                    r#"{{"image":"{}"}}"#,
                    image
                        .as_bytes()
                        .chunks(76)
                        .map(|line| std::str::from_utf8(line).unwrap())
                        .collect::<Vec<_>>()
                        .join(r"\r\n")
                ),
                "/image",
                "image/png",
            ),
        ] {
            let content = if text.contains(&bytes) && pointer != "/images/1" { &raw } else { &png };
            let mime = if expected == "?" { "application/octet-stream" } else { expected };
            let tree = tree(&text);
            assert_eq!(tree.pointer(pointer), Some(&placeholder(mime, content)), "{text:.80}");
        }
    }

    #[test]
    fn what_only_looks_like_media_is_left_alone() {
        let text = STANDARD.encode(long(b"raw"));
        let image = STANDARD.encode(long(PNG));
        for json in [
            format!(r#"{{"data":[{{"embedding":"{image}"}}]}}"#),
            format!(r#"{{"content":"{image}","text":"{image}","arguments":"{image}"}}"#),
            format!(r#"{{"type":"thinking","data":"{text}"}}"#),
            format!(r#"{{"bytes":"{text}","result":"{text}"}}"#),
            format!(r#"{{"image":"{}"}}"#, image.get(..BARE_MIN - 1).unwrap()),
            format!(
                r#"{{"image":"https://x/{image}","images":["a {image}"],"content":"see data:image/png;base64,{image}"}}"#
            ),
            format!(r#"{{"images":[["a"],{{"x":"{image}"}}],"y":"{image}"}}"#),
            format!(r#"  "{image}""#),
            format!("data:image/png;base64,{image}"),
            format!(r#"data: {{"image":"{image}"}}"#),
        ] {
            let bytewise: Vec<&[u8]> = json.as_bytes().chunks(1).collect();
            assert!(filtered(&[json.as_bytes()]) == json.as_bytes(), "{json:.60}");
            assert!(filtered(&bytewise) == json.as_bytes(), "byte by byte: {json:.60}");
        }
        let at = |depth: usize| format!("{}{{\"image\":\"{image}\"}}", "[".repeat(depth));
        assert!(filtered(&[at(127).as_bytes()]).len() < 400);
        assert!(filtered(&[at(128).as_bytes()]) == at(128).as_bytes());
    }

    #[test]
    fn what_turns_out_not_to_be_base64_is_told() {
        let image = STANDARD.encode(long(PNG));
        let json = format!(r#"{{"image":"{image}, not any more: \"\u00e4\u12"#);
        let out = String::from_utf8(filtered(&[json.as_bytes()])).unwrap();
        assert_eq!(out, r#"{"image":{"mime":"image/png","bytes":1008,"cut":true}"#);
        let expected = |bytes: &[u8]| {
            let mut expected = placeholder("image/png", bytes);
            expected["invalid"] = true.into();
            json!({"image": expected, "b": 1})
        };
        assert_eq!(tree(&format!(r#"{{"image":"{image} \"no\\","b":1}}"#)), expected(&long(PNG)));
        assert_eq!(tree(&format!(r#"{{"image":"{image}\ttab","b":1}}"#)), expected(&long(PNG)));
    }

    #[test]
    fn a_cut_body_stays_as_open_as_it_was() {
        let json = format!(r#"[{{"url":"data:image/png;base64,{}"}}]"#, STANDARD.encode(long(PNG)));
        for cut in 0..json.len() {
            let out = String::from_utf8(filtered(&[&json.as_bytes()[..cut]])).unwrap();
            match cut {
                0..=72 => assert_eq!(out, json.get(..cut).unwrap()),
                _ if cut < json.len() - 2 => {
                    // The URI begins behind 31 bytes; each 4 characters are 3 bytes, and 2 or 3 are 1 or 2.
                    let bytes = ((cut - 31) * 3 / 4).min(1008);
                    assert_eq!(out, format!(r#"[{{"url":{{"mime":"image/png","bytes":{bytes},"cut":true}}"#), "{cut}");
                }
                _ => assert!(out.starts_with(r#"[{"url":{"mime":"image/png","bytes":1008,"sha256":""#)),
            }
        }
    }

    #[test]
    fn a_large_image_takes_no_memory() {
        let image = long(PNG).repeat(4500);
        let json = format!(r#"{{"image":"{}","model":"m"}}"#, STANDARD.encode(&image));
        let (mut filter, mut out) = (MediaFilter::new(), Vec::new());
        for piece in json.as_bytes().chunks(16 * 1024) {
            filter.push(piece, &mut |bytes| out.extend_from_slice(bytes));
            assert!(filter.held.capacity() <= 2 * BARE_MIN && filter.short.capacity() <= 256);
        }
        assert_eq!(
            serde_json::from_slice::<Value>(&out).unwrap(),
            json!({"image": placeholder("image/png", &image), "model": "m"})
        );
    }

    #[test]
    fn ordinary_text_passes_in_one_piece() {
        let json =
            r#"{"model":"m","messages":[{"role":"user","content":"dear data: \"x\""}],"image":"no","data":["a"]}"#;
        let mut pieces = 0;
        MediaFilter::new().push(json.as_bytes(), &mut |bytes| {
            pieces += 1;
            assert_eq!(bytes, json.as_bytes());
        });
        assert_eq!(pieces, 1);
    }

    fn string() -> impl Strategy<Value = Value> {
        let base64 = prop::collection::vec(any::<u8>(), 740..800).prop_map(|bytes| STANDARD.encode(bytes));
        prop_oneof![
            4 => any::<String>().prop_map(Value::from),
            1 => "data:[a-z/;,]{0,9}".prop_map(Value::from),
            1 => base64.clone().prop_map(Value::from),
            1 => base64.prop_map(|text| format!("data:image/png;base64,{text}").into()),
            1 => "(image|audio/x|png|wav|reasoning)".prop_map(Value::from),
        ]
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![4 => string(), 1 => any::<i32>().prop_map(Value::from), 1 => Just(Value::Null)];
        let name = prop_oneof!["(image|images|data|source|type|format|mime_type)", any::<String>()];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// `after` is `before` but for placeholders of what may be media.
    fn is_replaced(before: &Value, after: &Value, name: &str) -> bool {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                before.len() == after.len() && before.iter().all(|(key, value)| is_replaced(value, &after[key], key))
            }
            (Value::Array(before), Value::Array(after)) => {
                before.len() == after.len() && before.iter().zip(after).all(|(a, b)| is_replaced(a, b, name))
            }
            (Value::String(text), Value::Object(after)) => {
                let bare = ["image", "images", "source", "data"].contains(&name);
                let base64 = text.strip_prefix("data:image/png;base64,").or(bare.then_some(text));
                let content = base64.and_then(|base64| STANDARD.decode(base64).ok()).unwrap();
                *after == *placeholder(after["mime"].as_str().unwrap(), &content).as_object().unwrap()
            }
            (Value::String(text), _) => {
                before == after
                    && (!text.starts_with("data:") || text.len() < URI_MIN)
                    && (!["image", "images", "source"].contains(&name)
                        || text.len() < BARE_MIN
                        || STANDARD.decode(text).is_err())
            }
            _ => before == after,
        }
    }

    proptest! {
        #[test]
        fn the_tree_is_the_same_but_for_media(json in any_json(), pretty in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            let out = filtered(&[text.as_bytes()]);
            let after: Value = serde_json::from_slice(&out).unwrap();
            let is_container = json.is_object() || json.is_array();
            prop_assert!(if is_container { is_replaced(&json, &after, "") } else { json == after }, "{} -> {}", json, after);
            if after == json {
                prop_assert_eq!(&out, text.as_bytes());
            }
            let mut borders: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            borders.extend([0, text.len()]);
            borders.sort_unstable();
            let pieces: Vec<_> = borders.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            prop_assert!(filtered(&pieces) == out, "split");
        }

        #[test]
        fn any_split_of_anything_gives_the_same(
            pieces in prop::collection::vec(prop_oneof![
                prop::sample::select(vec!["{", "[", "}", "]", ",", ":", "\"", "\\", "\\u00", "\"image\":\"", "\"data\":\"", "\"type\":\"image\",", "data:image/png;base64,", "é", " "]).prop_map(str::as_bytes).prop_map(<[u8]>::to_vec),
                prop::collection::vec(any::<u8>(), 0..9),
                (1000..1100_usize).prop_map(|len| vec![b'A'; len]),
            ], 0..30),
        ) {
            let whole = [&b"{"[..], &pieces.concat()].concat();
            let mut split: Vec<&[u8]> = vec![b"{"];
            split.extend(pieces.iter().map(Vec::as_slice));
            let out = filtered(&[&whole]);
            prop_assert!(filtered(&split) == out);
            prop_assert!(filtered(&whole.chunks(1).collect::<Vec<_>>()) == out);
            prop_assert!(out.len() <= whole.len() + 200 * whole.len().div_ceil(URI_MIN));
        }
    }
}
