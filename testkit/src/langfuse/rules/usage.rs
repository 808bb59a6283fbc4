//! Token counts: disjoint buckets that sum to `total`, under the names that Langfuse has prices for.

use super::super::span::Span;
use serde_json::{Map, Value};

const KEY: &str = "langfuse.observation.usage_details";

/// Those that Langfuse has prices for. A provider's own names (`prompt_tokens`, …) are stored as they are and priced as
/// nothing, and reasoning apart from the output is priced with few models (`worker/src/constants/default-model-prices.json`).
const BUCKETS: &[&str] = &[
    "input",
    "output",
    "total",
    "input_cached_tokens",
    "input_cache_creation",
    "input_cache_creation_5m",
    "input_cache_creation_1h",
    "input_audio_tokens",
    "output_audio_tokens",
];

/// Form, names and sum.
pub(super) fn usage(span: &Span) -> Vec<String> {
    if !span.attributes.contains_key(KEY) {
        return Vec::new();
    }
    match span.json(KEY) {
        Some(Value::Object(buckets)) => names(&buckets).chain(numbers(&buckets)).chain(sum(&buckets)).collect(),
        _ => vec![format!("{KEY} is not a string with a JSON object")],
    }
}

fn names(buckets: &Map<String, Value>) -> impl Iterator<Item = String> {
    let unknown = buckets.keys().filter(|name| !BUCKETS.contains(&name.as_str()));
    unknown.map(|name| format!("{KEY}: bucket {name:?} is unknown"))
}

fn numbers(buckets: &Map<String, Value>) -> impl Iterator<Item = String> {
    let wrong = buckets.iter().filter(|(_, count)| !count.is_u64());
    wrong.map(|(name, count)| format!("{KEY}: {name} is {count}, no non-negative integer"))
}

fn sum(buckets: &Map<String, Value>) -> Option<String> {
    let Some(total) = buckets.get("total") else { return Some(format!("{KEY}: total is missing")) };
    let parts = buckets.iter().filter(|(name, _)| *name != "total").filter_map(|(_, count)| count.as_u64());
    let sum: u64 = parts.sum();
    (total.as_u64() != Some(sum)).then(|| format!("{KEY}: buckets sum to {sum}, total is {total}"))
}
