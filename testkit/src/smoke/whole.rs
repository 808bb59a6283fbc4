//! What must hold of all traces of a run together.

use super::expected::Verdict;
use super::kit::{Kit, SKEW_NS, now};
use crate::langfuse::Span;
use std::collections::HashSet;

/// Most reasons in one line.
const REASONS: usize = 5;

/// Every call has one trace, none is doubled with another id, and what is not to be traced is not.
pub(super) fn once(kit: &Kit) -> Verdict {
    let tally = kit.tally();
    if tally.is_empty() {
        return Verdict::fail("no call has reached the upstream");
    }
    let differing = tally.iter().filter(|(_, (calls, traces))| calls != traces);
    let differing = differing.map(|(name, (calls, traces))| format!("{name}: {calls} calls, {traces} traces"));
    first_of(differing.collect())
}

/// Calls that are no inference leave no trace.
pub(super) fn untraced(kit: &Kit) -> Verdict {
    let names = ["models", "get", "head"].into_iter();
    first_of(names.filter(|name| !kit.spans(name).is_empty()).map(|name| format!("{name} was traced")).collect())
}

/// Each of `count` calls that the gateway answered itself is one error, for which nothing is billed.
pub(super) fn failed(kit: &Kit, name: &str, count: usize) -> Verdict {
    let spans = kit.spans(name);
    let cost = |span: &Span| span.text("langfuse.observation.cost_details").map(str::to_owned);
    let is_right = |span: &Span| span.level() == "ERROR" && cost(span).as_deref() == Some(r#"{"total":0}"#);
    let wrong = spans.iter().filter(|span| !is_right(span));
    let wrong: Vec<String> = wrong.map(|span| format!("{}, cost {:?}", span.level(), cost(span))).collect();
    let number = || format!("{count} calls, {} traces", spans.len());
    Verdict { problems: wrong, notes: Vec::new() }.unless(spans.len() == count, number)
}

/// As many trace ids as traces.
pub(super) fn ids(kit: &Kit) -> Verdict {
    let spans = kit.langfuse.spans();
    let ids: HashSet<&str> = spans.iter().map(|span| span.trace_id.as_str()).collect();
    let verdict = Verdict::default().unless(!spans.is_empty(), || "no trace has arrived".to_owned());
    verdict.unless(ids.len() == spans.len(), || format!("{} traces have {} ids", spans.len(), ids.len()))
}

/// Within the run, and beginning before they end.
pub(super) fn times(kit: &Kit) -> Verdict {
    let (from, to) = (kit.started.saturating_sub(SKEW_NS), now() + SKEW_NS);
    let spans = kit.langfuse.spans();
    let of_run: Vec<_> = spans.iter().filter(|span| kit.name(span).is_some()).collect();
    let verdict = Verdict::default().unless(!of_run.is_empty(), || "no trace has arrived".to_owned());
    let wrong = of_run.into_iter().filter(|span| !(from <= span.start && span.start <= span.end && span.end <= to));
    let wrong = wrong.map(|span| format!("{} runs from {} to {}", span.trace_id, span.start, span.end));
    Verdict { problems: [verdict.problems, first_of(wrong.collect()).problems].concat(), notes: Vec::new() }
}

/// No key of the client or of Langfuse is in a trace.
pub(super) fn secrets(kit: &Kit) -> Verdict {
    of_violations(kit, true)
}

/// Nothing that Langfuse would take and silently get wrong.
pub(super) fn rules(kit: &Kit) -> Verdict {
    of_violations(kit, false)
}

fn of_violations(kit: &Kit, of_secrets: bool) -> Verdict {
    let violations = kit.langfuse.violations().into_iter();
    let verdict = first_of(violations.filter(|text| text.contains("secret in") == of_secrets).collect());
    verdict.unless(!kit.langfuse.spans().is_empty(), || "no trace has arrived".to_owned())
}

fn first_of(mut problems: Vec<String>) -> Verdict {
    let more = problems.len().saturating_sub(REASONS);
    problems.truncate(REASONS);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Verdict { problems, notes: Vec::new() }
}
