//! What Langfuse accepts and silently gets wrong, as observed on a real server (4.16). Each rule tells what it found.

mod context;
mod leaks;
mod observation;
mod timing;
mod usage;

use super::span::Span;

type Rule = fn(&Span) -> Vec<String>;

const RULES: &[Rule] = &[
    context::required,
    context::environment,
    context::identity,
    context::tags,
    context::keys,
    context::scope,
    observation::kind,
    observation::level,
    observation::parameters,
    observation::cost,
    observation::prompt,
    timing::span_times,
    timing::completion_start,
    usage::usage,
];

/// All that is wrong with a span.
pub(super) fn violations(span: &Span, forbidden: &[String]) -> Vec<String> {
    let found = RULES.iter().flat_map(|rule| rule(span)).chain(leaks::leaks(span, forbidden));
    found.map(|text| format!("span {:?}: {text}", span.name)).collect()
}

/// A list with one entry when the condition does not hold.
fn unless(holds: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if holds { Vec::new() } else { vec![text()] }
}
