//! The tree says at a glance what a span says.
#![allow(clippy::unwrap_used, reason = "test equipment: a failed assumption must stop the run")]

use serde_json::json;
use testkit::langfuse::Span;
use testkit::tree::render_with;

fn span() -> Span {
    let text = |key: &str, value: &str| (key.to_owned(), json!(value));
    let attributes = [
        text("langfuse.trace.name", "/v1/chat/completions"),
        text("langfuse.observation.model.name", "gpt-4-0613"),
        text("langfuse.observation.level", "WARNING"),
        text("langfuse.observation.status_message", "client disconnected"),
        text("user.id", "user-1"),
        text("session.id", "session-abc"),
        text("langfuse.observation.input", r#"[{"role":"user","content":"hi\n\u001b[31mthere"}]"#),
        text(
            "langfuse.observation.output",
            r#"{"content":"Hello","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#,
        ),
        text("langfuse.observation.usage_details", r#"{"input":2,"output":3,"total":5}"#),
        text("langfuse.observation.completion_start_time", "1970-01-01T00:00:01.250Z"),
        ("langfuse.trace.tags".to_owned(), json!(["a", "b"])),
        ("langfuse.observation.metadata.status_code".to_owned(), json!(200)),
    ];
    Span {
        name: "chat_completion".into(),
        start: 1_000_000_000,
        end: 2_000_000_000,
        attributes: attributes.into(),
        ..Span::default()
    }
}

#[test]
fn everything_in_its_line() {
    let tree = render_with(&span(), false);
    assert!(tree.starts_with("chat_completion  /v1/chat/completions  gpt-4-0613  WARNING\n"), "{tree}");
    for wanted in [
        "client disconnected",
        "user user-1 · session session-abc · tags a, b",
        "input user  hi [31mthere",
        "Hello",
        "calls f({})",
        "input 2 + output 3 = total 5",
        "1000.0 ms, first token after 250.0 ms",
        "status_code = 200",
    ] {
        assert!(tree.contains(wanted), "no {wanted:?} in\n{tree}");
    }
    assert_eq!(tree.lines().filter(|line| line.starts_with("└─")).count(), 1);
}

#[test]
fn colours_only_on_request_and_never_from_the_content() {
    assert!(!render_with(&span(), false).contains('\u{1b}'));
    assert!(render_with(&span(), true).contains("\u{1b}[33mWARNING\u{1b}[0m"));
}

#[test]
fn an_empty_span_is_shown_too() {
    assert!(render_with(&Span::default(), false).contains("(no model)"));
}
