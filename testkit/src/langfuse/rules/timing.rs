//! Times. Langfuse keeps milliseconds.

use super::super::span::Span;
use super::unless;

const KEY: &str = "langfuse.observation.completion_start_time";
const NS_PER_MS: i128 = 1_000_000;

/// Start and end exist, in this order.
pub(super) fn span_times(span: &Span) -> Vec<String> {
    let mut found = unless(span.start != 0, || "start time is 0".to_owned());
    found.extend(unless(span.end >= span.start, || format!("ends ({}) before it starts ({})", span.end, span.start)));
    found
}

/// ISO 8601 in UTC, within the span.
pub(super) fn completion_start(span: &Span) -> Vec<String> {
    let Some(value) = span.attributes.get(KEY) else { return Vec::new() };
    let parsed = value.as_str().filter(|text| text.ends_with('Z'));
    let Some(time) = parsed.and_then(|text| text.parse::<jiff::Timestamp>().ok()) else {
        return vec![format!("{KEY} {value} is not ISO 8601 with Z")];
    };
    // Compared in milliseconds: a time cut to its millisecond may lie before a start that is not.
    let time = time.as_nanosecond().div_euclid(NS_PER_MS);
    let (start, end) = (i128::from(span.start) / NS_PER_MS, i128::from(span.end).div_euclid(NS_PER_MS) + 1);
    unless((start..=end).contains(&time), || format!("{KEY} {value} is outside the span"))
}
