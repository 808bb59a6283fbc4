//! What Langfuse accepts and silently gets wrong, as observed on a real server (4.16). Each rule tells what it found.

mod context;
mod leaks;
mod observation;
mod timing;
mod usage;

use super::otlp::Sender;
use super::span::Span;

type Rule = fn(&Span) -> Vec<String>;

const RULES: &[Rule] = &[
    context::environment,
    context::identity,
    context::tags,
    context::keys,
    observation::kind,
    observation::level,
    observation::parameters,
    observation::cost,
    observation::prompt,
    timing::span_times,
    timing::completion_start,
    usage::usage,
];

/// What SDKs of Langfuse need not keep: they are no impersonators, and may leave out what applications do not tell them.
const OF_EXPORTERS: &[Rule] = &[context::required, context::scope, context::intrusion, context::repetition];

/// All that is wrong with a span.
pub(super) fn violations(span: &Span, sender: Sender, forbidden: &[String]) -> Vec<String> {
    let rules = RULES.iter().chain(OF_EXPORTERS.iter().filter(|_| sender == Sender::Exporter));
    let found = rules.flat_map(|rule| rule(span)).chain(leaks::leaks(span, forbidden));
    found.map(|text| format!("span {:?}: {text}", span.name)).collect()
}

/// A list with one entry when the condition does not hold.
fn unless(holds: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if holds { Vec::new() } else { vec![text()] }
}
