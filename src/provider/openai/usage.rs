//! OpenAI's usage object into disjoint buckets.
//!
//! Measured semantics: `prompt_tokens` includes cached, audio and cache-write tokens, `completion_tokens` includes
//! reasoning and audio tokens, and `total_tokens` is their sum. Known exceptions are told by the numbers themselves:
//! - Mistral with audio: the total exceeds prompt + completion by exactly the audio tokens, which stand beside the prompt.
//! - Gemini's OpenAI endpoint: the total holds hidden thinking that no field names; it is sent as `unattributed`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::part;

use crate::json::{Number, parse};
use crate::provider::usage::{Buckets, Usage, split};

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    prompt_tokens: Number,
    #[serde(default)]
    completion_tokens: Number,
    #[serde(default)]
    total_tokens: Number,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens_details: Option<&'a RawValue>,
    /// DeepSeek's name of the cached part.
    #[serde(default)]
    prompt_cache_hit_tokens: Number,
    /// Mistral's.
    #[serde(default)]
    num_cached_tokens: Number,
    /// Together's and Hugging Face's.
    #[serde(default)]
    cached_tokens: Number,
    /// Copilot's.
    #[serde(default)]
    reasoning_tokens: Number,
}

#[derive(Deserialize, Default, Clone, Copy)]
struct Details {
    #[serde(default)]
    cached_tokens: Number,
    #[serde(default)]
    audio_tokens: Number,
    #[serde(default)]
    cache_write_tokens: Number,
    #[serde(default)]
    reasoning_tokens: Number,
}

/// Reads a usage object; none where it states no count at all (`null`, `{}`).
#[must_use]
pub fn read_usage(json: &[u8]) -> Option<Usage> {
    let raw: Raw<'_> = parse(json)?;
    let (input, output, total) = (raw.prompt_tokens.0, raw.completion_tokens.0, raw.total_tokens.0);
    if input.is_none() && output.is_none() && total.is_none() {
        return None;
    }
    Some(Usage { input, output, total, buckets: raw.buckets() })
}

impl Raw<'_> {
    fn buckets(&self) -> Buckets {
        let prompt: Details = part(self.prompt_tokens_details).unwrap_or_default();
        let completion: Details = part(self.completion_tokens_details).unwrap_or_default();
        let output = self.completion_tokens.0.unwrap_or(0);
        let (input, known) = match self.prompt_tokens.0 {
            Some(input) => (input, input.saturating_add(output)),
            // Voyage states nothing but the total of an embedding, which is all input.
            None => (self.total_tokens.0.unwrap_or(0).saturating_sub(output), 0),
        };
        let beyond = self.total_tokens.0.unwrap_or(0).saturating_sub(known.max(input.saturating_add(output)));
        let audio = prompt.audio_tokens.0.unwrap_or(0);
        let audio_beside = audio > 0 && beyond == audio;
        let cached = [prompt.cached_tokens, self.prompt_cache_hit_tokens, self.num_cached_tokens, self.cached_tokens];
        let mut buckets = Buckets::default();
        let details = [
            ("input_cached_tokens", cached.iter().find_map(|number| number.0)),
            ("input_cache_creation", prompt.cache_write_tokens.0),
            ("input_audio_tokens", (!audio_beside).then_some(audio)),
        ];
        split(&mut buckets, input, "input", &details);
        if audio_beside {
            buckets.add("input_audio_tokens", audio);
        }
        let details = [
            ("output_reasoning_tokens", completion.reasoning_tokens.0.or(self.reasoning_tokens.0)),
            ("output_audio_tokens", completion.audio_tokens.0),
        ];
        split(&mut buckets, output, "output", &details);
        if !audio_beside {
            buckets.add("unattributed", beyond);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_table() {
        for (name, raw, buckets) in [
            (
                "OpenAI",
                r#"{"prompt_tokens":150,"completion_tokens":25,"total_tokens":175,"prompt_tokens_details":{"cached_tokens":20,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5,"accepted_prediction_tokens":3}}"#,
                r#"{"input":130,"input_cached_tokens":20,"output":20,"output_reasoning_tokens":5,"total":175}"#,
            ),
            (
                "vLLM",
                r#"{"prompt_tokens":7,"completion_tokens":0,"total_tokens":7,"prompt_tokens_details":null}"#,
                r#"{"input":7,"total":7}"#,
            ),
            (
                "DeepSeek",
                r#"{"prompt_tokens":482,"completion_tokens":23,"total_tokens":505,"prompt_cache_hit_tokens":384,"prompt_cache_miss_tokens":98}"#,
                r#"{"input":98,"input_cached_tokens":384,"output":23,"total":505}"#,
            ),
            (
                "OpenRouter, cache write",
                r#"{"prompt_tokens":2572,"completion_tokens":100,"total_tokens":2672,"cost":0.003,"prompt_tokens_details":{"cached_tokens":2240,"cache_write_tokens":329}}"#,
                r#"{"input":3,"input_cached_tokens":2240,"input_cache_creation":329,"output":100,"total":2672}"#,
            ),
            (
                "Mistral with audio",
                r#"{"prompt_tokens":11,"completion_tokens":15,"total_tokens":401,"prompt_tokens_details":{"cached_tokens":9,"audio_tokens":375}}"#,
                r#"{"input":2,"input_cached_tokens":9,"input_audio_tokens":375,"output":15,"total":401}"#,
            ),
            (
                "Gemini's OpenAI endpoint",
                r#"{"completion_tokens":6,"prompt_tokens":66,"total_tokens":100}"#,
                r#"{"input":66,"output":6,"unattributed":28,"total":100}"#,
            ),
            (
                "reasoning over completion",
                r#"{"prompt_tokens":43,"completion_tokens":10,"total_tokens":53,"completion_tokens_details":{"reasoning_tokens":11}}"#,
                r#"{"input":43,"output_reasoning_tokens":10,"total":53}"#,
            ),
            ("embedding", r#"{"prompt_tokens":2,"total_tokens":2}"#, r#"{"input":2,"total":2}"#),
            ("Voyage", r#"{"total_tokens":12}"#, r#"{"input":12,"total":12}"#),
            (
                "details of another type",
                r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":""}"#,
                r#"{"input":3,"output":4,"total":7}"#,
            ),
            ("no total", r#"{"prompt_tokens":3,"completion_tokens":4}"#, r#"{"input":3,"output":4,"total":7}"#),
        ] {
            assert_eq!(read_usage(raw.as_bytes()).unwrap().buckets.to_json(), buckets, "{name}");
        }
        for nothing in ["null", "{}", "[]", "5", r#"{"prompt_tokens":null}"#] {
            assert_eq!(read_usage(nothing.as_bytes()), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn buckets_sum_to_the_reported_total_or_to_the_sum_of_its_parts(
            prompt in prop::option::of(0..1000_u64), completion in prop::option::of(0..1000_u64), total in prop::option::of(0..3000_u64),
            cached in 0..1500_u64, audio in 0..1500_u64, reasoning in 0..1500_u64,
        ) {
            let json = serde_json::json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
                "completion_tokens_details": {"reasoning_tokens": reasoning}}).to_string();
            if let Some(usage) = read_usage(json.as_bytes()) {
                let parts = prompt.unwrap_or(0) + completion.unwrap_or(0);
                prop_assert_eq!(usage.buckets.total(), total.unwrap_or(0).max(parts));
            }
        }
    }
}
