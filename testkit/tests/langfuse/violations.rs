//! Each rule about what Langfuse silently gets wrong fires on a bad span, and none on good ones.

use crate::support::{export, good_span, post, request, set_header, text, with, with_field, without};
use serde_json::{Value, json};
use testkit::client::send;
use testkit::langfuse::{StandIn, StandInOptions};

/// The violations of one span, which must be accepted.
async fn violations(span: Value) -> Vec<String> {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let answer = post(&langfuse, &export(&[span])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    langfuse.violations()
}

/// Exactly one violation, which says this.
async fn breaks(span: Value, wanted: &str) {
    let found = violations(span.clone()).await;
    assert!(found.len() == 1 && found[0].contains(wanted), "wanted {wanted:?}, found {found:?} for {span}");
    assert!(found[0].starts_with("span \"chat_completion\": "), "{found:?}");
}

#[tokio::test]
async fn a_good_span_breaks_no_rule() {
    assert_eq!(violations(good_span()).await, Vec::<String>::new());
}

#[tokio::test]
async fn observation_rules() {
    breaks(with(text("langfuse.observation.type", "GENERATION")), "type \"GENERATION\" is unknown").await;
    breaks(with(text("langfuse.observation.level", "warn")), "level \"warn\"").await;
    let failed = |mut span: Value| {
        span["status"] = json!({"code": 2});
        span
    };
    breaks(failed(without("langfuse.observation.usage_details")), "without usage or cost_details").await;
    assert!(violations(failed(good_span())).await.is_empty(), "a failed call whose usage was stated is priced by it");
    breaks(with(text("langfuse.observation.model.parameters", "[1]")), "JSON object").await;
    breaks(with(text("langfuse.observation.cost_details", "free")), "JSON object").await;
    breaks(with(text("langfuse.observation.cost_details", r#"{"total":-1}"#)), "total is -1").await;
    breaks(with(text("langfuse.observation.prompt.name", "critic")), "do not make a link").await;
}

#[tokio::test]
async fn context_rules() {
    for key in ["langfuse.observation.type", "langfuse.trace.name", "langfuse.environment"] {
        breaks(without(key), "is missing").await;
    }
    for environment in ["Prod EU!", "langfuse-prod", &"e".repeat(41)] {
        breaks(with(text("langfuse.environment", environment)), "environment").await;
    }
    for key in ["user.id", "session.id"] {
        breaks(with(text(key, "")), key).await;
        breaks(with(text(key, &"é".repeat(201))), key).await;
        assert!(violations(with(text(key, &"é".repeat(200)))).await.is_empty());
    }
    breaks(with(text("langfuse.trace.tags", "a,b")), "tags").await;
    for key in ["__proto__", "constructor", "prototype"] {
        let key = format!("langfuse.trace.metadata.{key}.x");
        breaks(with(text(&key, "1")), "blocked segment").await;
    }
}

#[tokio::test]
async fn a_child_needs_no_trace_name_unless_the_trace_is_its_own() {
    let mut child = without("langfuse.trace.name");
    child["parentSpanId"] = json!("00f067aa0ba902b7");
    assert_eq!(violations(child.clone()).await, Vec::<String>::new());
    let root = |key: &str| json!({"key": format!("langfuse.internal.{key}"), "value": {"boolValue": true}});
    child["attributes"].as_array_mut().unwrap().push(root("is_app_root"));
    assert_eq!(violations(child.clone()).await, Vec::<String>::new());
    child["attributes"].as_array_mut().unwrap().push(root("as_root"));
    breaks(child, "langfuse.trace.name is missing").await;
}

#[tokio::test]
async fn a_child_says_nothing_of_itself_on_the_applications_trace() {
    let mut child = with(text("langfuse.trace.metadata.provider", "openai"));
    assert_eq!(violations(child.clone()).await, Vec::<String>::new());
    child["parentSpanId"] = json!("00f067aa0ba902b7");
    breaks(child, "provider on the trace of an application").await;
}

#[tokio::test]
async fn nothing_is_said_twice() {
    let mut failed = with(text("langfuse.observation.level", "ERROR"));
    failed["status"] = json!({"code": 2, "message": "m"});
    breaks(failed, "the level is said twice").await;
    let mut failed = with(text("langfuse.observation.status_message", "m"));
    failed["status"] = json!({"code": 2, "message": "m"});
    breaks(failed, "the status message is said twice").await;
}

#[tokio::test]
async fn a_repeated_key_is_seen() {
    let mut span = good_span();
    span["attributes"].as_array_mut().unwrap().push(text("langfuse.environment", "production"));
    breaks(span, "more than once").await;
}

#[tokio::test]
async fn usage_rules() {
    let usage = |json: &str| with(text("langfuse.observation.usage_details", json));
    breaks(usage("25"), "JSON object").await;
    breaks(usage(r#"{"input":20,"output":5}"#), "total is missing").await;
    breaks(usage(r#"{"input":20,"output":5,"total":26}"#), "buckets sum to 25").await;
    breaks(usage(r#"{"prompt_tokens":20,"output":5,"total":25}"#), "\"prompt_tokens\" is unknown").await;
    breaks(usage(r#"{"input":20.5,"output":5,"total":5}"#), "no non-negative integer").await;
    breaks(usage(r#"{"input":-1,"output":5,"total":5}"#), "no non-negative integer").await;
    let number = json!({"key": "langfuse.observation.usage_details", "value": {"intValue": "25"}});
    breaks(with(number), "JSON object").await;
}

#[tokio::test]
async fn timing_rules() {
    let completion = |time: &str| with(text("langfuse.observation.completion_start_time", time));
    breaks(completion("2026-11-22T03:37:44.400+01:00"), "ISO 8601").await;
    breaks(completion("1795318664400"), "ISO 8601").await;
    breaks(completion("2026-11-22T03:37:43.900Z"), "outside").await;
    breaks(completion("2026-11-22T03:37:46Z"), "outside").await;
    let mut span = without("langfuse.observation.completion_start_time");
    span["endTimeUnixNano"] = json!("1795318663000000000");
    breaks(span.clone(), "before it starts").await;
    span["startTimeUnixNano"] = json!("0");
    breaks(span, "start time is 0").await;
    breaks(with_field("startTimeUnixNano", json!(1_795_318_664_000_000_000_u64)), "JSON numbers").await;
}

#[tokio::test]
async fn secrets_are_found_anywhere_and_not_repeated() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    langfuse.forbid("Bearer sk-client");
    let mut span = with(text("langfuse.observation.input", "key sk-lf-testkit-secret."));
    span["attributes"].as_array_mut().unwrap().push(text("langfuse.trace.metadata.Bearer sk-client", "x"));
    span["status"] = json!({"message": "sk-lf-testkit-secret"});
    post(&langfuse, &export(&[span])).await;
    let found = langfuse.violations();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|text| text.contains("secret in") && !text.contains("sk-")), "{found:?}");
}

#[tokio::test]
async fn a_span_may_come_again_but_not_changed() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    for span in [good_span(), good_span()] {
        post(&langfuse, &export(&[span])).await;
    }
    assert_eq!((langfuse.duplicates(), langfuse.violations().len(), langfuse.spans().len()), (1, 0, 1));
    post(&langfuse, &export(&[with(text("langfuse.trace.metadata.x", "y"))])).await;
    post(&langfuse, &export(&[with_field("startTimeUnixNano", json!("1795318664000000001"))])).await;
    let found = langfuse.violations();
    assert!(found.len() == 2 && found[0].contains("other content") && found[1].contains("start time"), "{found:?}");
}

#[tokio::test]
async fn request_headers_and_scope() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let mut body = export(&[good_span()]);
    body["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = json!("langfuse-sdk");
    post(&langfuse, &body).await;
    let good = || request(b"{}".to_vec());
    send(langfuse.addr(), set_header(good(), "x-langfuse-sdk-name", None)).await;
    send(langfuse.addr(), set_header(good(), "x-langfuse-sdk-name", Some("python"))).await;
    send(langfuse.addr(), set_header(good(), "x-langfuse-ingestion-version", None)).await;
    send(langfuse.addr(), good()).await;
    let found = langfuse.violations();
    let wanted =
        ["scope \"langfuse-sdk\"", "no x-langfuse-sdk-name", "sdk-name python", "no x-langfuse-ingestion-version"];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    assert!(found.iter().zip(wanted).all(|(found, wanted)| found.contains(wanted)), "{found:?}");
}

/// The violations of a request with the headers and the scope of Langfuse's SDK for Python, and with `public_key`.
async fn of_sdk(options: StandInOptions, public_key: Option<&str>, span: Value) -> Vec<String> {
    let langfuse = StandIn::start(options).await;
    let mut body = export(&[span]);
    body["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = json!("langfuse-sdk");
    let sdk = set_header(request(body.to_string().into()), "x-langfuse-sdk-name", Some("python"));
    let answer = send(langfuse.addr(), set_header(sdk, "x-langfuse-public-key", public_key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    langfuse.violations()
}

#[tokio::test]
async fn applications_may_be_what_the_filter_may_not() {
    let both = || StandInOptions { with_applications: true, ..Default::default() };
    let key = Some("pk-lf-testkit");
    assert!(of_sdk(both(), key, without("langfuse.environment")).await.is_empty());
    let found = of_sdk(both(), key, with(text("langfuse.observation.level", "warn"))).await;
    assert!(found.len() == 1 && found[0].contains("level"), "the other rules are for all: {found:?}");
    for (options, key) in [(StandInOptions::default(), key), (both(), None), (both(), Some("pk-lf-another"))] {
        let found = of_sdk(options, key, without("langfuse.environment")).await;
        assert_eq!(found.iter().filter(|text| text.contains("impersonates")).count(), 2, "{found:?}");
        assert_eq!(found.len(), 3, "{found:?}");
    }
}

/// Samples that a real Langfuse stored as intended; they live outside the repository.
#[tokio::test]
async fn real_samples_pass() {
    let folder = testkit::repository_root().join("../shared/otlp-samples");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        testkit::say_skipped(&format!("no samples in {}", folder.display()));
        return;
    };
    let mut checked = 0;
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        let sample: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if sample["resourceSpans"].is_null() {
            continue;
        }
        let langfuse = StandIn::start(StandInOptions::default()).await;
        let answer = post(&langfuse, &sample).await;
        assert_eq!(answer.status, 200, "{}: {}", path.display(), answer.text());
        let mut violations = langfuse.violations();
        // What Langfuse takes, and the filter does better: nothing twice, and no tokens in buckets that have no price.
        let allowed = ["is said twice", "_tokens\" is unknown"];
        violations.retain(|violation| !allowed.iter().any(|allowed| violation.contains(allowed)));
        assert_eq!(violations, Vec::<String>::new(), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 9, "only {checked} samples in {}", folder.display());
}
