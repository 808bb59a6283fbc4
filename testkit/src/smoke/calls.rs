//! The calls by name, and which name a request or a trace has.
//!
//! The guide's three calls are made as printed there and told by their question; all others carry the session
//! `smoke-RUN-NAME` (or `smoke-RUN-NAME.PART`), which the upstream and the trace both show.

use crate::langfuse::Span;
use crate::upstream::Received;
use serde_json::Value;

/// The predecessor's guide, sections 4 to 6: question and name.
const GUIDE: [(&str, &str); 3] = [
    ("Explain quantum computing", "hello"),
    ("What is machine learning?", "context"),
    ("Recommend a movie", "metadata"),
];
/// Calls that must leave no trace.
const UNTRACED: [&str; 3] = ["models", "get", "head"];
/// Calls that the gateway answers itself: one never reaches the upstream, the other is given up.
pub(super) const FAILED: [&str; 2] = ["nowhere", "slow"];

/// The name of a request; none for one that is not of this run.
pub(super) fn of_request(run: &str, request: &Received) -> Option<String> {
    let by_session = request.header("x-session-id").and_then(|session| of_session(run, session));
    by_session.or_else(|| of_question(&serde_json::from_slice::<Value>(request.body.as_deref()?).ok()?["messages"]))
}

/// The name of a trace; none for one that is not of this run.
pub(super) fn of_span(run: &str, span: &Span) -> Option<String> {
    span.session().and_then(|session| of_session(run, session)).or_else(|| of_question(&span.input()))
}

/// True when the call must become a trace, and the upstream answers it.
pub(super) fn is_traced(name: &str) -> bool {
    !UNTRACED.contains(&name) && !FAILED.contains(&name)
}

/// True when its session does not tell the call of one run from those of another.
pub(super) fn is_of_guide(name: &str) -> bool {
    GUIDE.iter().any(|(_, of_guide)| *of_guide == name)
}

fn of_session(run: &str, session: &str) -> Option<String> {
    let name = session.strip_prefix("smoke-")?.strip_prefix(run)?.strip_prefix('-')?;
    name.split('.').next().map(str::to_owned)
}

fn of_question(messages: &Value) -> Option<String> {
    let question = messages[0]["content"].as_str()?;
    GUIDE.iter().find(|(of_guide, _)| *of_guide == question).map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_this_run_and_no_other_name_a_call() {
        let name = |session: &str| of_session("7", session);
        assert_eq!(name("smoke-7-stream").as_deref(), Some("stream"));
        assert_eq!(name("smoke-7-quick.3").as_deref(), Some("quick"));
        assert_eq!(name("smoke-77-stream"), None);
        assert_eq!(name("session-abc"), None);
    }
}
