//! Token usage as the disjoint buckets that Langfuse prices.
//!
//! Langfuse sums what it is sent and prices each key, so buckets must not overlap and must add up to `total`
//! (docs/design.md, "Usage"). Each rule, and where it was read:
//! - Reasoning stays in `output`. All providers bill it as output (<https://platform.openai.com/docs/guides/reasoning>,
//!   <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>, <https://ai.google.dev/gemini-api/docs/thinking>);
//!   Langfuse's table has a price of its own for it with some models, never another one, and none with the others
//!   (`worker/src/constants/default-model-prices.json` of <https://github.com/langfuse/langfuse>).
//! - Gemini's prompts of tools are input (<https://ai.google.dev/api/generate-content#UsageMetadata>); no table prices them
//!   apart.
//! - What a total holds beside all that is named is hidden output (thinking, at Gemini's OpenAI endpoint): observed in
//!   recordings.
//! - Mistral with audio: the total exceeds input + output by exactly the audio tokens, which stand beside the input; where
//!   it does not, they are a part of it. Both are in recordings.
//! - Anthropic's iterations are summed as they are billed: [`super::count::Counts::read`].
//!
//! What has no bucket of its own stays visible as metadata ([`Usage::within`]).

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

    /// Tokens of reasoning, which are a part of the output.
    #[must_use]
    pub fn reasoning(&self) -> u64 {
        self.counts.get(Count::Reasoning).unwrap_or(0)
    }

    /// What buckets hold beside what their names say, by its metadata key: reasoning and what nobody named in `output`, the
    /// prompts of tools in `input`.
    pub fn within(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |count| self.counts.get(count).unwrap_or(0);
        let within = [
            ("reasoning_tokens", self.reasoning()),
            ("tool_use_tokens", count(Count::ToolUse)),
            ("unattributed_tokens", self.buckets.unattributed),
        ];
        within.into_iter().filter(|(_, tokens)| *tokens > 0)
    }

    /// A reported total that is not the sum of the buckets.
    #[must_use]
    pub fn odd_total(&self) -> Option<u64> {
        self.counts.get(Count::Total).filter(|total| *total != self.buckets.total())
    }
}

/// Disjoint token counts, none of them 0.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Buckets {
    named: Vec<(&'static str, u64)>,
    /// Of the output, what only the total tells.
    unattributed: u64,
}

impl Buckets {
    /// Sum of all buckets.
    #[must_use]
    pub fn total(&self) -> u64 {
        sum(&self.named)
    }

    /// Name and count of each bucket.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.named.iter().copied()
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

fn buckets(counts: &Counts, rules: &UsageRules) -> Buckets {
    let count = |count| counts.get(count).unwrap_or(0);
    let reasoning = if rules.output_includes_reasoning { 0 } else { count(Count::Reasoning) };
    let output = count(Count::Output).saturating_add(reasoning);
    let input = counts.get(Count::Input).unwrap_or_else(|| unstated_input(counts, rules));
    let input = input.saturating_add(count(Count::ToolUse));
    let (short, long) = (count(Count::CacheWrite5m), count(Count::CacheWrite1h));
    let cache = [
        ("input_cached_tokens", count(Count::CacheRead)),
        ("input_cache_creation", count(Count::CacheWrite).saturating_sub(short.saturating_add(long))),
        ("input_cache_creation_5m", short),
        ("input_cache_creation_1h", long),
    ];
    let audio = [("input_audio_tokens", count(Count::InputAudio))];
    let beyond = count(Count::Total).saturating_sub(input.saturating_add(output));
    let audio_beside = count(Count::InputAudio) > 0 && beyond == count(Count::InputAudio);
    let mut named = split("input", input, &[(&cache, rules.input_includes_cache), (&audio, !audio_beside)]);
    named.extend(split("output", output, &[(&[("output_audio_tokens", count(Count::OutputAudio))], true)]));
    let unattributed = count(Count::Total).saturating_sub(sum(&named));
    named.iter_mut().filter(|(name, _)| *name == "output").for_each(|(_, tokens)| *tokens += unattributed);
    named.retain(|(_, tokens)| *tokens > 0);
    Buckets { named, unattributed }
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

/// Tokens by bucket.
type Parts = [(&'static str, u64)];

fn sum(parts: &Parts) -> u64 {
    parts.iter().fold(0, |sum, (_, tokens)| sum.saturating_add(*tokens))
}

/// `whole` as the parts that it includes and the rest, whose name is `rest`, and the parts beside it. A part that is larger
/// than what is left of the whole is clamped: a provider that contradicts itself must not make tokens.
fn split(rest: &'static str, whole: u64, parts: &[(&Parts, bool)]) -> Vec<(&'static str, u64)> {
    let mut left = whole;
    let mut found = vec![(rest, 0)];
    for (parts, included) in parts {
        for (name, tokens) in *parts {
            let part = if *included { (*tokens).min(left) } else { *tokens };
            left -= if *included { part } else { 0 };
            found.push((*name, part));
        }
    }
    found.iter_mut().take(1).for_each(|(_, tokens)| *tokens = left);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(rules: &UsageRules, counts: &[(Count, u64)]) -> Usage {
        let mut all = Counts::default();
        counts.iter().for_each(|(count, number)| all.set(*count, *number));
        Usage::new(all, rules).unwrap()
    }

    #[test]
    fn what_has_no_price_of_its_own_is_billed_with_its_side_and_stays_visible() {
        let beside = UsageRules { output_includes_reasoning: false, ..UsageRules::NONE };
        let (input, output, total) = (Count::Input, Count::Output, Count::Total);
        for (rules, counts, buckets, within) in [
            (
                &UsageRules::NONE,
                &[(input, 10), (output, 5), (Count::Reasoning, 3)][..],
                r#"{"input":10,"output":5,"total":15}"#,
                vec![("reasoning_tokens", 3)],
            ),
            (
                &beside,
                &[
                    (input, 10),
                    (Count::ToolUse, 7),
                    (Count::CacheRead, 4),
                    (output, 5),
                    (Count::Reasoning, 3),
                    (total, 25),
                ],
                r#"{"input":13,"input_cached_tokens":4,"output":8,"total":25}"#,
                vec![("reasoning_tokens", 3), ("tool_use_tokens", 7)],
            ),
            (
                &UsageRules::NONE,
                &[(input, 10), (output, 5), (total, 100)],
                r#"{"input":10,"output":90,"total":100}"#,
                vec![("unattributed_tokens", 85)],
            ),
            (&UsageRules::NONE, &[(total, 9)], r#"{"input":9,"total":9}"#, vec![]),
        ] {
            let usage = usage(rules, counts);
            assert_eq!(usage.buckets.to_json(), buckets, "{counts:?}");
            assert_eq!(usage.within().collect::<Vec<_>>(), within, "{counts:?}");
        }
    }
}
