//! The fast way for the common piece of a stream: like the one before, but for the text in it.
//!
//! Events of one stream mostly differ in one string alone. Once such an event was read and its one effect was that a text
//! was appended, what stands before and behind that text is kept; a later event that begins and ends the same, with one
//! JSON string between, has exactly the same structure, so its text is known without reading the rest again.

use std::borrow::Cow;

use super::choice::Slot;
use crate::json::Value;

/// Longest event that is kept as a template; real ones have some 300 bytes.
const TEMPLATE_MAX: usize = 1024;

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The choice's place in the collector.
    pub choice: usize,
    pub slot: Slot,
}

/// What stands around the text of an event.
#[derive(Debug, Default)]
pub(super) struct Template {
    event: Vec<u8>,
    /// Up to and with the quote before the text; empty = no template.
    before: Vec<u8>,
    /// From the quote behind the text.
    behind: Vec<u8>,
    target: Option<Target>,
}

impl Template {
    /// Takes the event as the template: all that it did was to append `text`, a string in `data`, to `target`.
    pub(super) fn learn(&mut self, event: &[u8], data: &[u8], text: &str, target: Target) {
        // The text is a part of `data`: where it stands there is the distance of the two.
        let Some(at) = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize) else { return };
        let end = at.saturating_add(text.len());
        if data.len() > TEMPLATE_MAX || text.len() < 2 || data.get(at..end) != Some(text.as_bytes()) {
            return;
        }
        self.target = Some(target);
        for (part, bytes) in [
            (&mut self.event, event),
            (&mut self.before, data.get(..=at).unwrap_or_default()),
            (&mut self.behind, data.get(end - 1..).unwrap_or_default()),
        ] {
            part.clear();
            part.extend_from_slice(bytes);
        }
    }

    /// The text of an event, where it is of this template, and where it goes.
    pub(super) fn text<'a>(&self, event: &[u8], data: &'a [u8]) -> Option<(Target, Cow<'a, str>)> {
        if self.before.is_empty() || event != self.event {
            return None;
        }
        let text = data.strip_prefix(self.before.as_slice())?.strip_suffix(self.behind.as_slice())?;
        if text.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
            return Some((self.target?, Cow::Borrowed(std::str::from_utf8(text).ok()?)));
        }
        // With escapes: the string is checked, quotes included, which also proves that it is one string.
        let quoted = data.get(self.before.len() - 1..data.len() - self.behind.len() + 1)?;
        Some((self.target?, Value::parse(quoted)?.text()?))
    }

    /// What the template was learnt from no longer holds: its target has changed.
    pub(super) fn forget(&mut self) {
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::provider::{Collector, find};
    use proptest::prelude::*;

    fn collector(path: &str) -> Collector {
        let api = find(path.as_bytes(), &[], &[]).unwrap().api().unwrap();
        Collector::new(api, 1 << 16, Budget::new(1 << 20).capture_lease())
    }

    /// Chunks of OpenAI's chats and Anthropic's events, which differ in one text or in more.
    fn events() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let text = prop_oneof!["[a-z]{0,3}", any::<String>(), Just("\\\"\n".to_owned())];
        let name = prop::sample::select(vec!["content", "reasoning_content", "reasoning", "refusal"]);
        let more = prop::sample::select(vec![
            "",
            r#","usage":null"#,
            r#","usage":{"prompt_tokens":1,"completion_tokens":2}"#,
            r#","x_groq":{"usage":{"prompt_tokens":9}}"#,
            r#","error":null"#,
            r#","model":"m""#,
        ]);
        let end = prop::sample::select(vec!["null", "\"stop\""]);
        let chunk = (text, name, more, 0..2_u8, end, any::<bool>());
        let chunk = chunk.prop_map(|(text, name, more, index, end, named)| {
            let text = serde_json::to_string(&text).unwrap();
            let data = format!(
                r#"{{"choices":[{{"index":{index},"delta":{{"{name}":{text}}},"finish_reason":{end}}}]{more}}}"#
            );
            (if named { "message" } else { "" }, data)
        });
        prop::collection::vec(chunk, 0..24)
    }

    /// The same JSON, never written like the one before: no template fits it.
    fn unlike(number: usize, data: &str) -> String {
        data.replacen(':', &format!("{}:", " ".repeat(number % 7 + 1)), 1)
    }

    proptest! {
        #[test]
        fn what_a_template_reads_is_what_reading_all_gives(events in events()) {
            let (mut fast, mut slow) = (collector("/v1/chat/completions"), collector("/v1/chat/completions"));
            for (number, (name, data)) in events.iter().enumerate() {
                let content = fast.event(name.as_bytes(), data.as_bytes());
                prop_assert_eq!(content, slow.event(name.as_bytes(), unlike(number, data).as_bytes()), "{}", data);
            }
            prop_assert_eq!(fast.finish(), slow.finish());
        }
    }

    #[test]
    fn a_piece_like_the_one_before_is_read_by_its_template() {
        for (path, event, data) in [
            ("/v1/chat/completions", "", r#"{"choices":[{"delta":{"content":"TEXT"}}]}"#),
            ("/v1/completions", "", r#"{"choices":[{"text":"TEXT","index":1}]}"#),
            (
                "/v1/messages",
                "content_block_delta",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#,
            ),
        ] {
            let mut collector = collector(path);
            collector.event(event.as_bytes(), data.replace("TEXT", "a").as_bytes());
            let like = data.replace("TEXT", "é\\n");
            let (_, text) = collector.template.text(event.as_bytes(), like.as_bytes()).unwrap();
            assert_eq!(text, "é\n", "{path}");
            let two = data.replace("TEXT", r#"b","x":"c"#);
            for other in
                [two, data.replace("TEXT", "\\"), data.replace("delta", "Delta").replace("text", "t"), "[DONE]".into()]
            {
                assert!(collector.template.text(event.as_bytes(), other.as_bytes()).is_none(), "{other}");
            }
            assert!(collector.template.text(b"other", data.as_bytes()).is_none());
        }
    }

    #[test]
    fn a_piece_that_did_more_is_no_template() {
        for data in [
            r#"{"id":"c","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","refusal":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[{"delta":{"content":"a","tool_calls":[{"function":{"name":"f"}}]}}]}"#,
        ] {
            let mut collector = collector("/v1/chat/completions");
            collector.event(b"", data.as_bytes());
            assert!(collector.template.text(b"", data.as_bytes()).is_none(), "{data}");
        }
        let long = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "a".repeat(TEMPLATE_MAX));
        let mut collector = collector("/v1/chat/completions");
        collector.event(b"", long.as_bytes());
        assert!(collector.template.text(b"", long.as_bytes()).is_none());
    }
}
