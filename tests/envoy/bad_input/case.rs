//! Tables of calls: what is asked and answered, and what the trace of each must say.

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::langfuse::Span;
use testkit::upstream::Script;

use crate::rig::{Rig, unwanted};

/// One call, and what its trace must say.
#[derive(Clone)]
pub struct Case {
    what: &'static str,
    request: Request,
    script: Script,
    wanted: Vec<(&'static str, Value)>,
    trace_path: Option<&'static str>,
}

pub fn case(what: &'static str, request: Request, script: Script, wanted: &[(&'static str, Value)]) -> Case {
    Case { what, request, script, wanted: wanted.to_vec(), trace_path: None }
}

impl Case {
    /// The same case, whose trace must also be named by exactly this path (behind the case's own prefix).
    pub fn with_trace_path(self, path: &'static str) -> Self {
        Self { trace_path: Some(path), ..self }
    }

    /// Everything that the trace of the call, the one below `prefix`, does not say as wanted.
    fn wrong(&self, prefix: &str, spans: &[Span]) -> Vec<String> {
        let below = format!("{prefix}/");
        let own = |span: &&Span| span.text("langfuse.trace.name").is_some_and(|name| name.starts_with(&below));
        let Some(span) = spans.iter().find(own) else { return vec![format!("{}: no trace", self.what)] };
        let named = self.trace_path.map(|path| ("trace", json!(format!("{prefix}{path}"))));
        let wanted: Vec<_> = self.wanted.iter().cloned().chain(named).collect();
        unwanted(self.what, span, &wanted)
    }
}

/// What stands before the path of the nth case, so that its trace is told from the others'.
fn prefix(n: usize) -> String {
    format!("/case-{n}")
}

/// Sends all calls, one after another; asserts that each passed untouched and became a trace that says what it must.
pub async fn check(rig: &Rig, cases: Vec<Case>) {
    for (n, case) in cases.iter().enumerate() {
        let mut request = case.request.clone();
        request.path.insert_str(0, &prefix(n));
        let response = rig.replay(request, case.script.clone()).await;
        assert_eq!(response.status, case.script.status, "{}", case.what);
    }
    let spans = rig.take_spans(cases.len()).await;
    let wrong: Vec<String> = (0..).zip(&cases).flat_map(|(n, case)| case.wrong(&prefix(n), &spans)).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
