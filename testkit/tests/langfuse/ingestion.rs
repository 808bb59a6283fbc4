//! The legacy endpoint: what each generation takes, what it refuses event by event, and how it shows as spans.

use crate::support::{export, good_span, post, request, set_header};
use serde_json::{Value, json};
use testkit::client::{Request, Response, send};
use testkit::langfuse::{Behaviour, Generation, StandIn, StandInOptions, read_ingestion};

async fn stand_in(generation: Generation) -> StandIn {
    StandIn::start(StandInOptions { generation, ..Default::default() }).await
}

fn batch(events: &[Value]) -> Request {
    let body = json!({"batch": events}).to_string().into_bytes();
    Request { path: "/api/public/ingestion".into(), ..request(body) }
}

fn trace() -> Value {
    json!({"id": "t1", "type": "trace-create", "timestamp": "2026-11-22T03:37:44.000Z", "body": {
        "id": "0af7651916cd43dd8448eb2104dcc801", "timestamp": "2026-11-22T03:37:44.000Z", "name": "/v1/chat/completions",
        "userId": "user-1", "sessionId": "sess-1", "environment": "production", "tags": ["kong"],
        "metadata": {"provider": "openai"}, "input": "q", "output": "a",
    }})
}

fn generation() -> Value {
    json!({"id": "g1", "type": "generation-create", "timestamp": "2026-11-22T03:37:45.250Z", "body": {
        "id": "b7ad6b7100000001", "traceId": "0af7651916cd43dd8448eb2104dcc801", "name": "chat_completion",
        "startTime": "2026-11-22T03:37:44.000Z", "completionStartTime": "2026-11-22T03:37:44.400Z",
        "endTime": "2026-11-22T03:37:45.250Z", "environment": "production", "level": "DEFAULT", "model": "gpt-4o",
        "modelParameters": {"temperature": 0.7, "stop": ["x"], "stream": true, "seed": null, "format": "{}"},
        "usageDetails": {"input": 0, "input_cached_tokens": 20, "output": 5, "total": 25},
        "usage": {"input": 20, "output": 5, "total": 25, "unit": "TOKENS"}, "costDetails": {"total": 0},
        "metadata": {"http": {"status_code": 200}}, "input": [{"role": "user", "content": "q"}], "output": "\"a\"",
    }})
}

/// The generation with a field of its body set.
fn with(field: &str, value: Value) -> Value {
    let mut event = generation();
    event["body"][field] = value;
    event
}

fn items(answer: &Response, list: &str) -> Vec<(String, u64)> {
    let items = answer.json()[list].as_array().unwrap().clone();
    items.iter().map(|item| (item["id"].as_str().unwrap().to_owned(), item["status"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_trace_and_its_generation_are_one_span() {
    let langfuse = stand_in(Generation::V3).await;
    let answer = send(langfuse.addr(), batch(&[trace(), generation()])).await;
    let both = vec![("t1".to_owned(), 201), ("g1".to_owned(), 201)];
    assert_eq!((answer.status, items(&answer, "successes"), items(&answer, "errors")), (207, both, vec![]));
    langfuse.assert_no_violations();
    let spans = langfuse.spans();
    let span = &spans[0];
    assert_eq!((spans.len(), langfuse.requests()[0].spans, langfuse.requests()[0].status), (1, 1, Some(207)));
    assert_eq!((span.name.as_str(), span.level(), span.model()), ("chat_completion", "DEFAULT", Some("gpt-4o")));
    assert_eq!(
        (span.trace_id.as_str(), span.span_id.as_str()),
        ("0af7651916cd43dd8448eb2104dcc801", "b7ad6b7100000001")
    );
    assert_eq!((span.duration_ms(), span.time_to_first_token_ms()), (1250.0, Some(400.0)));
    assert_eq!((span.user(), span.session(), span.tags()), (Some("user-1"), Some("sess-1"), vec!["kong".to_owned()]));
    assert_eq!((span.input(), span.output()), (json!([{"role": "user", "content": "q"}]), json!("\"a\"")));
    assert_eq!(span.usage()["total"], 25);
    assert_eq!(span.metadata("provider"), Some(json!("openai")));
    assert_eq!(span.text("langfuse.observation.type"), Some("generation"));
}

#[tokio::test]
async fn each_generation_has_its_endpoints_and_types() {
    let embedding = || {
        let mut event = generation();
        event["type"] = json!("embedding-create");
        event
    };
    for (generation, otlp, embeddings) in [
        (Generation::V4Dual, 200, 1),
        (Generation::V3, 200, 1),
        (Generation::BeforeOtlp, 404, 0),
        (Generation::V2, 404, 0),
    ] {
        let langfuse = stand_in(generation).await;
        let answer = send(langfuse.addr(), batch(&[trace(), embedding()])).await;
        assert_eq!(langfuse.spans().len(), embeddings, "{generation:?}");
        let refused = answer.json()["errors"][0]["error"].as_str().is_some_and(|error| error.contains("discriminator"));
        assert_eq!((answer.status, refused), (207, embeddings == 0), "{generation:?}");
        langfuse.clear();
        assert_eq!(post(&langfuse, &export(&[good_span()])).await.status, otlp, "{generation:?}");
    }
}

#[tokio::test]
async fn an_upgrade_changes_what_is_taken() {
    let langfuse = stand_in(Generation::BeforeOtlp).await;
    send(langfuse.addr(), batch(&[trace(), generation()])).await;
    langfuse.set_generation(Generation::V4);
    langfuse.clear();
    let answer = send(langfuse.addr(), batch(&[trace(), generation()])).await;
    assert_eq!(items(&answer, "errors"), [("t1".to_owned(), 400), ("g1".to_owned(), 400)]);
    assert_eq!(answer.json()["errors"][1]["message"], "Event type not accepted");
    assert_eq!(post(&langfuse, &export(&[good_span()])).await.status, 200);
    assert_eq!((langfuse.spans().len(), langfuse.ingested().len()), (1, 0));
}

#[tokio::test]
async fn version_2_reads_the_old_usage() {
    let langfuse = stand_in(Generation::V2).await;
    send(langfuse.addr(), batch(&[trace(), generation()])).await;
    langfuse.assert_no_violations();
    let usage = langfuse.spans()[0].usage();
    assert_eq!((usage["input"], usage["output"], usage["total"], usage.len()), (20, 5, 25, 3));
}

#[tokio::test]
async fn an_observation_is_found_in_its_trace_or_under_its_parent() {
    let langfuse = stand_in(Generation::V3).await;
    send(langfuse.addr(), batch(&[generation()])).await;
    assert_eq!((langfuse.spans().len(), langfuse.requests()[0].spans), (0, 1), "nobody finds it without its trace");
    send(langfuse.addr(), batch(&[trace()])).await;
    assert_eq!(langfuse.spans()[0].text("langfuse.trace.name"), Some("/v1/chat/completions"));
    let mut child = with("parentObservationId", json!("00f067aa0ba902b7"));
    (child["id"], child["body"]["id"]) = (json!("g2"), json!("b7ad6b7100000002"));
    child["body"]["traceId"] = json!("0af7651916cd43dd8448eb2104dcc802");
    send(langfuse.addr(), batch(&[child])).await;
    assert_eq!(langfuse.spans()[1].parent_span_id, "00f067aa0ba902b7");
    langfuse.assert_no_violations();
}

#[tokio::test]
async fn what_the_schema_refuses_is_refused() {
    let langfuse = stand_in(Generation::V3).await;
    let envelope = |field: &str, value: Value| {
        let mut event = generation();
        event[field] = value;
        event
    };
    let in_trace = |field: &str, value: Value| {
        let mut event = trace();
        event["body"][field] = value;
        event
    };
    for bad in [
        envelope("id", json!(7)),
        envelope("id", json!("")),
        envelope("id", json!("x".repeat(801))),
        envelope("id", json!("a\rb")),
        envelope("timestamp", json!("2026-11-22T03:37:44.000")),
        envelope("timestamp", json!(1_795_318_664)),
        envelope("timestamp", Value::Null),
        envelope("type", json!("dataset-run-item-create")),
        envelope("body", Value::Null),
        with("id", Value::Null),
        with("id", json!(7)),
        with("startTime", json!("2026-11-22 03:37:44Z")),
        with("completionStartTime", json!("03:37")),
        with("level", json!("warning")),
        with("model", json!(4)),
        with("modelParameters", json!({"format": {"type": "x"}})),
        with("modelParameters", json!({"ids": [1]})),
        with("usage", json!({"input": 1.5})),
        with("usage", json!({"input": 1, "unit": "tokens"})),
        with("usageDetails", json!({"input": 1.5})),
        with("usageDetails", json!({"input": -1})),
        with("usageDetails", json!({"input": {"x": 1}})),
        with("costDetails", json!({"total": -0.1})),
        with("promptName", json!("critic")),
        with("promptVersion", json!(3)),
        in_trace("userId", json!(7)),
        in_trace("sessionId", json!(7)),
        in_trace("name", json!("x".repeat(1001))),
        in_trace("tags", json!("a,b")),
        in_trace("tags", json!([1])),
        in_trace("public", json!("yes")),
    ] {
        let answer = send(langfuse.addr(), batch(std::slice::from_ref(&bad))).await;
        let errors = items(&answer, "errors");
        assert!(answer.status == 207 && errors.len() == 1 && errors[0].1 == 400, "{bad}: {}", answer.text());
    }
    assert!(langfuse.ingested().is_empty());
    for good in [
        with("startTime", json!("2026-11-22T04:37:44.000123+01:00")),
        with(
            "usageDetails",
            json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}}),
        ),
        in_trace("name", json!("é".repeat(1000))),
        in_trace("metadata", json!("text")),
    ] {
        let answer = send(langfuse.addr(), batch(std::slice::from_ref(&good))).await;
        assert_eq!(items(&answer, "errors"), [], "{good}");
    }
}

#[tokio::test]
async fn what_the_server_drops_without_a_word_is_a_violation() {
    let langfuse = stand_in(Generation::V3).await;
    send(langfuse.addr(), batch(&[trace(), with("userId", json!("user-1"))])).await;
    let found = langfuse.violations();
    assert!(found.len() == 1 && found[0].contains("\"userId\" is unknown"), "{found:?}");
}

#[tokio::test]
async fn an_event_may_come_again_but_not_changed() {
    let langfuse = stand_in(Generation::V4Dual).await;
    for _ in 0..2 {
        send(langfuse.addr(), batch(&[trace(), generation()])).await;
    }
    assert_eq!((langfuse.duplicates(), langfuse.spans().len(), langfuse.violations().len()), (1, 1, 0));
    assert_eq!(langfuse.requests()[1].spans, 1);
    send(langfuse.addr(), batch(&[with("model", json!("other"))])).await;
    // The good span has the ids of the generation.
    post(&langfuse, &export(&[good_span()])).await;
    let found = langfuse.violations();
    assert!(found.len() == 2 && found[0].contains("other content") && found[1].contains("by OTLP"), "{found:?}");
}

#[tokio::test]
async fn requests_are_checked_before_events() {
    let langfuse = stand_in(Generation::V3).await;
    let good = || batch(&[trace(), generation()]);
    let status = async |request: Request| send(langfuse.addr(), request).await.status;
    assert_eq!(status(set_header(good(), "authorization", None)).await, 401);
    assert_eq!(status(set_header(good(), "authorization", Some("Basic eA=="))).await, 401);
    assert_eq!(status(set_header(batch(&[]), "authorization", Some("Basic eA=="))).await, 401);
    assert_eq!(status(set_header(good(), "content-encoding", Some("gzip"))).await, 400);
    assert_eq!(status(set_header(good(), "content-type", Some("application/x-protobuf"))).await, 400);
    assert_eq!(status(Request { body: b"{".to_vec(), ..good() }).await, 400);
    assert_eq!(status(Request { body: b"{}".to_vec(), ..good() }).await, 400);
    let large = send(langfuse.addr(), batch(&[with("input", json!("x".repeat(4_500_000)))])).await;
    assert_eq!((large.status, large.text().as_str()), (413, "Body exceeded 4.5mb limit"));
    let bearer = send(langfuse.addr(), set_header(good(), "authorization", Some("Bearer pk-lf-testkit"))).await;
    assert_eq!((bearer.status, items(&bearer, "errors")), (207, vec![("t1".to_owned(), 401), ("g1".to_owned(), 401)]));
    let empty = send(langfuse.addr(), batch(&[])).await;
    assert_eq!((empty.status, empty.json()), (207, json!({"successes": [], "errors": []})));
    assert!(langfuse.ingested().is_empty());
}

#[tokio::test]
async fn events_fail_once_as_told() {
    let langfuse = stand_in(Generation::V3).await;
    langfuse.set_behaviour(Behaviour::ItemErrors { every: 2, status: 503 });
    let answer = send(langfuse.addr(), batch(&[trace(), generation()])).await;
    assert_eq!((items(&answer, "successes").len(), items(&answer, "errors")), (1, vec![("g1".to_owned(), 503)]));
    assert_eq!((langfuse.spans().len(), langfuse.requests()[0].spans), (0, 0));
    let answer = send(langfuse.addr(), batch(&[trace(), generation()])).await;
    assert_eq!((items(&answer, "errors"), langfuse.spans().len()), (vec![], 1));
    assert_eq!((langfuse.duplicates(), post(&langfuse, &export(&[])).await.status), (0, 200));
    langfuse.assert_no_violations();
}

#[test]
fn a_batch_is_read_without_a_server() {
    let body = |events: &[Value]| json!({"batch": events}).to_string().into_bytes();
    let (spans, violations) = read_ingestion(&body(&[trace(), generation()]), Generation::V3).unwrap();
    assert_eq!((spans.len(), violations), (1, vec![]));
    assert!(read_ingestion(&body(&[generation()]), Generation::V3).unwrap_err().contains("0 of 1"));
    assert!(read_ingestion(&body(&[with("level", json!("x"))]), Generation::V3).unwrap_err().contains("body.level"));
    assert!(read_ingestion(&body(&[trace()]), Generation::V4).is_err());
    assert!(read_ingestion(b"{}", Generation::V3).is_err());
}

/// The sample that a real Langfuse stored as intended; it lives outside the repository.
#[tokio::test]
async fn the_real_sample_passes() {
    let path = testkit::repository_root().join("../shared/otlp-samples/ingestion-chat.json");
    let Ok(body) = std::fs::read(&path) else {
        testkit::say_skipped(&format!("no sample {}", path.display()));
        return;
    };
    let langfuse = stand_in(Generation::V3).await;
    let request = Request { path: "/api/public/ingestion".into(), ..request(body) };
    let answer = send(langfuse.addr(), request).await;
    assert_eq!((answer.status, items(&answer, "errors"), langfuse.spans().len()), (207, vec![], 1));
    // The server splits the usage of a provider itself; the filter does before it sends.
    let found = langfuse.violations();
    assert!(found.iter().all(|text| text.contains("usage_details")), "{found:?}");
}
