//! Each format, of every recorded call and of the README's example.

use super::expectation::corpus;
use super::{explain, feed, file, fixture, printed};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value, json};
use std::process::Command;

const BEGIN: &str = "<!-- printed by `explain`, checked by its tests (`make docs` writes it): begin -->\n```text\n";
const END: &str = "```\n<!-- end -->\n";

#[test]
fn json_is_what_the_filter_reads() {
    for cassette in &corpus() {
        let shown = printed(&["--format", "json", file(cassette).to_str().unwrap()], b"");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown, feed::Exchange::of(cassette).explain("{}"), "{}", cassette.id);
    }
}

#[test]
fn otlp_is_what_would_be_sent() {
    for cassette in &corpus() {
        let shown = printed(&["--format", "otlp", file(cassette).to_str().unwrap()], b"");
        let request: ExportTraceServiceRequest = serde_json::from_str(&shown).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        let wanted = feed::Exchange::of(cassette).span("{}");
        let text = |key: &str| {
            let value = serde_json::to_value(span.attributes.iter().find(|attribute| attribute.key == key)).unwrap();
            value["value"]["stringValue"].as_str().map(str::to_owned)
        };
        for key in
            ["trace.name", "observation.input", "observation.output", "observation.usage_details", "observation.level"]
        {
            let key = format!("langfuse.{key}");
            assert_eq!(text(&key).as_deref(), wanted.text(&key), "{}: {key}", cassette.id);
        }
        assert!(!shown.contains("duration_ms") && !shown.contains("completion_start_time"), "{}: times", cassette.id);
    }
}

#[test]
fn a_tree_says_the_route_and_the_level_and_steers_no_terminal() {
    for cassette in &corpus() {
        let shown = printed(&[file(cassette).to_str().unwrap()], b"");
        let read = feed::Exchange::of(cassette).explain("{}");
        for (name, field) in [
            ("family", "family"),
            ("operation", "operation"),
            ("level", "level"),
            ("model that answered", "response_model"),
        ] {
            let Some(value) = read[field].as_str() else { continue };
            let row = shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
            assert!(row.ends_with(value), "{}: {row}, not {value}", cassette.id);
        }
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{}: {shown:?}", cassette.id);
        assert!(shown.lines().all(|line| line.len() < 2000), "{}: a long line", cassette.id);
    }
}

#[test]
fn the_readme_shows_what_the_example_prints() {
    let path = testkit::repository_root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the begin mark");
    let (shown, after) = rest.split_once(END).expect("the README has the end mark");
    let wanted = printed(&[fixture().to_str().unwrap()], b"");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, wanted, "run: make docs");
    }
}

#[test]
fn a_configuration_changes_what_is_sent() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = json!({"environment": "staging", "tags": ["gateway"], "max_input_bytes": 40,
        "prices": [{"model": "gpt-4o*", "input": 1, "output": 2}]});
    std::fs::write(config.path(), text.to_string()).unwrap();
    let shown = printed(&[fixture().to_str().unwrap(), "--config", config.path().to_str().unwrap()], b"");
    for row in [
        "environment         staging",
        "tags                gateway",
        "input: cut at its limit (",
        "raise `max_input_bytes`",
    ] {
        assert!(shown.contains(row), "{row} is not in\n{shown}");
    }
}

#[test]
fn the_standard_input_is_a_file_too() {
    let bytes = std::fs::read(fixture()).unwrap();
    assert_eq!(printed(&["-"], &bytes), printed(&[fixture().to_str().unwrap()], b""));
}

#[test]
fn a_call_that_is_not_traced_says_why() {
    for (exchange, name, reason, remedy) in [
        (r#"{"request":{"path":"/v1/models/gpt-4o"}}"#, "ignored_path", "`ignore_paths`", "take the path out"),
        (r#"{"request":{"path":"/index.html"}}"#, "not_ai", "LLM API", "What is traced"),
        (r#"{"request":{"path":"/v1/chat/completions","method":"GET"}}"#, "method", "only POST", "none"),
        (r#"{"request":{"path":"/v1/chat/completions"},"response":{"status":101}}"#, "upgrade", "status 101", "none"),
    ] {
        let tree = printed(&["-"], exchange.as_bytes());
        assert!([name, reason, remedy].iter().all(|said| tree.contains(said)), "{tree}");
        let shown: Value = serde_json::from_str(&printed(&["-", "--format", "json"], exchange.as_bytes())).unwrap();
        assert_eq!(shown["skipped"], name);
        let otlp = explain(&["-", "--format", "otlp"], exchange.as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&otlp.stdout).unwrap(), json!({"resourceSpans": []}));
        assert!(String::from_utf8_lossy(&otlp.stderr).contains(reason));
    }
}

#[test]
fn who_stops_reading_has_seen_enough() {
    let long = format!(r#"{{"request":{{"path":"/v1/chat/completions","body":"{}"}}}}"#, "x".repeat(4_000_000));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), long).unwrap();
    let script = r#""$0" --redact "$1" | head -c 10; exit ${PIPESTATUS[0]}"#;
    let output =
        Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_explain")]).arg(file.path()).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    assert_eq!(output.stdout.len(), 10);
}

/// A call of an agent behind Kong, which is configured to look elsewhere for some of what the caller says.
#[test]
fn a_tree_shows_for_each_field_which_source_won() {
    let folder = tempfile::tempdir().unwrap();
    let (exchange, config) = (folder.path().join("exchange.json"), folder.path().join("config.json"));
    let call = json!({
        "gateway": "kong", "properties": {"/kong/client/protocol": "https"},
        "request": {
            "path": "/v1/messages",
            "headers": {
                "anthropic-version": "2023-06-01", "x-claude-code-session-id": "5f", "langfuse-tags": "a",
                "x-request-id": "0af76519-16cd-43dd-8448-eb211c80319c", "x-consumer-username": "shop",
                "langfuse-metadata": "team:search,model:forged", "x-team": "core",
            },
            "body": {"model": "m", "messages": [], "metadata": {"tags": ["b"], "trace_name": "n"}},
        },
        "response": {"status": 200, "body": {"type": "message", "model": "m", "content": []}},
    });
    let sources = json!({"gateway_authenticates": true, "context": {"metadata": {"protocol": "property:/kong/client/protocol"}, "tags": ["default", "header:x-team"]}});
    std::fs::write(&exchange, call.to_string()).unwrap();
    std::fs::write(&config, sources.to_string()).unwrap();
    let tree = printed(&["--config", config.to_str().unwrap(), exchange.to_str().unwrap()], b"");
    for line in [
        "name n [body:/metadata/trace_name]",
        "id 0af7651916cd43dd8448eb211c80319c [header:x-request-id]",
        "user shop [header:x-consumer-username]",
        "session claude-code:5f [agent]",
        "tags a [header:langfuse-tags], b [body:/metadata/tags], core [header:x-team]",
        "model m",
        "protocol https [property:/kong/client/protocol]",
        "team search [header:langfuse-metadata]",
        "caller_model forged [header:langfuse-metadata]",
        "gateway.consumer shop",
    ] {
        let is_line = |shown: &str| shown.split_whitespace().collect::<Vec<_>>().join(" ") == line;
        assert!(tree.lines().any(is_line), "{line}\n{tree}");
    }
}
