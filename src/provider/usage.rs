//! Token usage as the disjoint buckets that Langfuse prices.
//!
//! Langfuse sums what it is sent and prices each key, so buckets must not overlap and must add up to `total`
//! (docs/design.md, "Usage"). Exceptions that the numbers themselves tell:
//! - Mistral with audio: the total exceeds input + output by exactly the audio tokens, which stand beside the input.
//! - Gemini's OpenAI endpoint: the total holds hidden thinking that no field names; it is sent as `unattributed`.

use super::count::{Count, Counts, UsageRules};
use crate::json::ObjectWriter;

/// Tokens of one call, as the provider stated them and as buckets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// As reported.
    pub counts: Counts,
    /// Disjoint counts, `total` aside.
    pub buckets: Buckets,
}

impl Usage {
    /// Makes buckets of `counts`; none where no number of tokens was stated.
    #[must_use]
    pub fn new(counts: Counts, rules: &UsageRules) -> Option<Self> {
        counts.has_tokens().then(|| Self { buckets: buckets(&counts, rules), counts })
    }

    /// Input tokens as reported.
    #[must_use]
    pub fn input(&self) -> Option<u64> {
        self.counts.get(Count::Input)
    }

    /// Output tokens, those of reasoning included however the family counts them.
    #[must_use]
    pub fn output(&self) -> Option<u64> {
        let written = self.buckets.iter().filter(|(name, _)| name.starts_with("output"));
        self.counts.get(Count::Output).map(|_| written.fold(0, |sum: u64, (_, tokens)| sum.saturating_add(tokens)))
    }

    /// A reported total that is not the sum of the buckets.
    #[must_use]
    pub fn odd_total(&self) -> Option<u64> {
        self.counts.get(Count::Total).filter(|total| *total != self.buckets.total())
    }
}

/// Disjoint token counts; those that are 0 are not sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Buckets(Vec<(&'static str, u64)>);

impl Buckets {
    /// Adds a bucket; 0 adds nothing.
    pub fn add(&mut self, name: &'static str, tokens: u64) {
        if tokens > 0 {
            self.0.push((name, tokens));
        }
    }

    /// Sum of all buckets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, tokens)| sum.saturating_add(*tokens))
    }

    /// Name and count of each bucket.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// The JSON object of `langfuse.observation.usage_details`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = ObjectWriter::default();
        self.iter().for_each(|(name, tokens)| {
            object.number(name, tokens);
        });
        object.number("total", self.total());
        object.finish()
    }
}

/// Parts of a whole, or beside it.
type Parts = [(&'static str, u64)];

fn buckets(counts: &Counts, rules: &UsageRules) -> Buckets {
    let count = |count| counts.get(count).unwrap_or(0);
    let total = counts.get(Count::Total);
    let output = count(Count::Output);
    let input = counts.get(Count::Input).unwrap_or_else(|| unstated_input(counts, rules));
    let (short, long) = (count(Count::CacheWrite5m), count(Count::CacheWrite1h));
    let cache = [
        ("input_cached_tokens", count(Count::CacheRead)),
        ("input_cache_creation", count(Count::CacheWrite).saturating_sub(short.saturating_add(long))),
        ("input_cache_creation_5m", short),
        ("input_cache_creation_1h", long),
    ];
    let reasoning = [("output_reasoning_tokens", count(Count::Reasoning))];
    let audio = [("input_audio_tokens", count(Count::InputAudio))];
    let tools = [("input_tool_use_tokens", count(Count::ToolUse))];
    let beyond = total.unwrap_or(0).saturating_sub(input.saturating_add(output));
    let audio_beside = count(Count::InputAudio) > 0 && beyond == count(Count::InputAudio);
    let mut buckets = Buckets::default();
    let beside = [(&cache[..], rules.input_includes_cache), (&audio, !audio_beside), (&tools, false)];
    split(&mut buckets, input, "input", &beside);
    let audio = [("output_audio_tokens", count(Count::OutputAudio))];
    split(&mut buckets, output, "output", &[(&reasoning[..], rules.output_includes_reasoning), (&audio, true)]);
    buckets.add("unattributed", total.unwrap_or(0).saturating_sub(buckets.total()));
    buckets
}

/// What the total holds beside all that is named: Voyage states nothing but the total of an embedding, which is all input.
fn unstated_input(counts: &Counts, rules: &UsageRules) -> u64 {
    let count = |count| counts.get(count).unwrap_or(0);
    let pieces = count(Count::CacheWrite5m).saturating_add(count(Count::CacheWrite1h));
    let cache = count(Count::CacheRead).saturating_add(count(Count::CacheWrite).max(pieces));
    let beside = |included: bool, tokens: u64| if included { 0 } else { tokens };
    count(Count::Total)
        .saturating_sub(count(Count::Output))
        .saturating_sub(count(Count::ToolUse))
        .saturating_sub(beside(rules.input_includes_cache, cache))
        .saturating_sub(beside(rules.output_includes_reasoning, count(Count::Reasoning)))
}

/// Adds `whole` as the parts that it includes and the rest, which goes to `rest`, and the parts beside it. A part that is
/// larger than what is left of the whole is clamped: a provider that contradicts itself must not make tokens.
fn split(buckets: &mut Buckets, whole: u64, rest: &'static str, parts: &[(&Parts, bool)]) {
    let mut left = whole;
    let mut found = Vec::with_capacity(8);
    for (parts, included) in parts {
        for (name, tokens) in *parts {
            let part = if *included { (*tokens).min(left) } else { *tokens };
            left -= if *included { part } else { 0 };
            found.push((*name, part));
        }
    }
    buckets.add(rest, left);
    found.into_iter().for_each(|(name, tokens)| buckets.add(name, tokens));
}
