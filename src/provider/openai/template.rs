//! The fast way for the common chunk: like the one before, but for the text in it.
//!
//! Chunks of one stream mostly differ in `choices[0].delta.content` alone. Once such a chunk has been parsed, what stands
//! before and behind its text is kept; a later chunk that begins and ends the same, with one JSON string between, has
//! exactly the same structure, so its text is known without parsing the rest (some 250 bytes) again.

use std::borrow::Cow;

use super::wire::Chunk;
use crate::json::{Text, is_null, parse};

/// Longest chunk that is kept as a template; real ones have some 300 bytes.
const TEMPLATE_MAX: usize = 1024;

/// What stands around the text of a chunk.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// Up to and with the quote before the text; empty = no template.
    before: Vec<u8>,
    /// From the quote behind the text.
    behind: Vec<u8>,
    /// The choice whose text it is.
    pub index: u64,
}

impl Template {
    /// Takes `data`, parsed as `chunk`, as the template, if its one effect beyond what every chunk says is its text.
    pub(super) fn learn(&mut self, data: &[u8], chunk: &Chunk<'_>) {
        let Some((at, len)) = text_of(data, chunk).filter(|_| data.len() <= TEMPLATE_MAX) else { return };
        self.index = chunk.choices.items.first().and_then(|choice| choice.index.0).unwrap_or(0);
        self.before.clear();
        self.before.extend_from_slice(data.get(..=at).unwrap_or_default());
        self.behind.clear();
        self.behind.extend_from_slice(data.get(at + len - 1..).unwrap_or_default());
    }

    /// The text of `data`, where it is of this template.
    pub(super) fn text<'a>(&self, data: &'a [u8]) -> Option<Cow<'a, str>> {
        if self.before.is_empty() {
            return None;
        }
        let text = data.strip_prefix(self.before.as_slice())?.strip_suffix(self.behind.as_slice())?;
        if text.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
            return std::str::from_utf8(text).ok().map(Cow::Borrowed);
        }
        // With escapes: the string is parsed, quotes included, which also proves that it is one string.
        let quoted = data.get(self.before.len() - 1..data.len() - self.behind.len() + 1)?;
        let text: Text<'_> = parse(quoted)?;
        text.0
    }
}

/// Offset and length (quotes included) of the text in `data`, where the chunk has one choice and nothing but text in it.
fn text_of(data: &[u8], chunk: &Chunk<'_>) -> Option<(usize, usize)> {
    let [choice] = chunk.choices.items.as_slice() else { return None };
    let delta = choice.delta.as_ref()?;
    let more = [&delta.reasoning_content, &delta.reasoning, &delta.refusal];
    let only_text = more.iter().all(|text| text.non_empty().is_none())
        && chunk.usage.is_none_or(|usage| is_null(usage.get().as_bytes()))
        && chunk.x_groq.is_none()
        && delta.tool_calls.items.is_empty()
        && delta.function_call.is_none()
        && delta.audio.is_none()
        && choice.finish_reason.get().is_none()
        && chunk.value.get().is_none()
        && chunk.error.is_none_or(|error| is_null(error.get().as_bytes()));
    let raw = delta.content.filter(|raw| only_text && raw.get().starts_with('"'))?.get();
    // The raw value is a part of `data`: where it stands there is the distance of the two.
    let at = (raw.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    (data.get(at..at + raw.len())? == raw.as_bytes()).then_some((at, raw.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learnt(chunk: &str) -> Template {
        let mut template = Template::default();
        template.learn(chunk.as_bytes(), &parse(chunk.as_bytes()).unwrap());
        template
    }

    fn chunk(text: &str, rest: &str) -> String {
        let text = serde_json::to_string(text).unwrap();
        format!(r#"{{"id":"c","choices":[{{"index":2,"delta":{{"content":{text}}},"finish_reason":null}}]{rest}}}"#)
    }

    #[test]
    fn a_chunk_that_differs_in_more_than_its_text_is_not_of_the_template() {
        let template = learnt(&chunk("a", ""));
        assert_eq!((template.text(chunk("b", "").as_bytes()).as_deref(), template.index), (Some("b"), 2));
        let finished = chunk("b", "").replace("null", "\"stop\"");
        for other in [&chunk("b", r#","usage":{}"#), &finished, &chunk("b", "").replace("\"c\"", "\"d\""), "[DONE]"] {
            assert_eq!(template.text(other.as_bytes()), None, "{other}");
        }
        let two = chunk("b\",\"role\":\"x", "").replace("\\\"", "\"");
        assert_eq!(template.text(two.as_bytes()), None, "two strings are not one: {two}");
    }

    #[test]
    fn a_chunk_that_says_more_than_text_is_no_template() {
        for more in [
            r#""reasoning_content":"","reasoning":"r","#,
            r#""reasoning_content":"r","#,
            r#""tool_calls":[{}],"#,
            r#""refusal":"no","#,
            r#""audio":{},"#,
        ] {
            let chunk = chunk("a", "").replace("\"content\"", &format!("{more}\"content\""));
            assert_eq!(learnt(&chunk).text(chunk.as_bytes()), None, "{more}");
        }
        for rest in [r#","usage":{"prompt_tokens":1}"#, r#","x_groq":{}"#] {
            assert_eq!(learnt(&chunk("a", rest)).text(chunk("a", rest).as_bytes()), None, "{rest}");
        }
        let finished = chunk("a", "").replace("null", "\"stop\"");
        assert_eq!(learnt(&finished).text(finished.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn a_text_is_what_parsing_gives(first in any::<String>(), text in any::<String>()) {
            let template = learnt(&chunk(&first, ""));
            let data = chunk(&text, "");
            let found = template.text(data.as_bytes());
            prop_assert_eq!(found.as_deref(), Some(text.as_str()));
        }
    }
}
