//! Token usage: what the provider reported, and the disjoint buckets that Langfuse prices.
//!
//! Langfuse sums what it is sent and prices each key, so buckets must not overlap and must add up to `total`
//! (docs/design.md, "Usage"). A count that was not stated is absent, never 0.

use crate::json::ObjectWriter;

/// Tokens of one call, as the provider stated them and as buckets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens as reported.
    pub input: Option<u64>,
    /// Output tokens as reported.
    pub output: Option<u64>,
    /// Total as reported.
    pub total: Option<u64>,
    /// Disjoint counts, `total` aside.
    pub buckets: Buckets,
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

/// Splits `whole` into the part that `details` name and the rest, which goes to `rest`. A detail that is larger than
/// what is left of the whole is clamped: a provider that contradicts itself must not make tokens.
pub(super) fn split(buckets: &mut Buckets, whole: u64, rest: &'static str, details: &[(&'static str, Option<u64>)]) {
    let mut left = whole;
    let mut parts = Vec::with_capacity(details.len());
    for (name, tokens) in details {
        let part = tokens.unwrap_or(0).min(left);
        left -= part;
        parts.push((*name, part));
    }
    buckets.add(rest, left);
    parts.into_iter().for_each(|(name, tokens)| buckets.add(name, tokens));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_disjoint_and_sum_to_total() {
        let mut buckets = Buckets::default();
        split(&mut buckets, 150, "input", &[("input_cached_tokens", Some(20)), ("input_audio_tokens", None)]);
        split(&mut buckets, 25, "output", &[("output_reasoning_tokens", Some(40)), ("output_audio_tokens", Some(5))]);
        assert_eq!(
            buckets.to_json(),
            r#"{"input":130,"input_cached_tokens":20,"output_reasoning_tokens":25,"total":175}"#
        );
    }
}
