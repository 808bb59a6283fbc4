//! The stand-in refuses exactly what Langfuse refuses, and misbehaves as told.

use crate::support::{export, good_span, post, request, set_header, with_field};
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use testkit::client::{Request, Response, send};
use testkit::langfuse::{Behaviour, Generation, ResetAt, StandIn, StandInOptions};

const SOON: Duration = Duration::from_secs(5);

async fn stand_in() -> StandIn {
    StandIn::start(StandInOptions::default()).await
}

fn good() -> Request {
    request(export(&[good_span()]).to_string().into_bytes())
}

fn protobuf() -> Request {
    let message: ExportTraceServiceRequest = serde_json::from_value(export(&[good_span()])).unwrap();
    set_header(request(message.encode_to_vec()), "content-type", Some("application/x-protobuf"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn status(stand_in: &StandIn, request: Request) -> u16 {
    send(stand_in.addr(), request).await.status
}

#[tokio::test]
async fn takes_protobuf_json_and_gzip() {
    let langfuse = stand_in().await;
    let mut zipped = protobuf();
    zipped.body = gzip(&zipped.body);
    assert_eq!(status(&langfuse, protobuf()).await, 200);
    assert_eq!(status(&langfuse, set_header(zipped, "content-encoding", Some("gzip"))).await, 200);
    assert_eq!(status(&langfuse, good()).await, 200);
    let spans = langfuse.wait_for_spans(1, SOON).await;
    assert_eq!((spans.len(), langfuse.duplicates()), (1, 2), "three times the same span");
    assert_eq!(langfuse.requests().len(), 3);
    langfuse.assert_no_violations();
    assert_eq!(spans[0].trace_id, "0af7651916cd43dd8448eb2104dcc801");
    assert_eq!((spans[0].usage()["total"], spans[0].level()), (25, "DEFAULT"));
    assert_eq!(spans[0].time_to_first_token_ms(), Some(400.0));
    assert_eq!(spans[0].resource["service.name"], "envoy");
}

#[tokio::test]
async fn checks_authentication() {
    let langfuse = stand_in().await;
    let with = |value: Option<&str>| set_header(good(), "authorization", value);
    assert_eq!(status(&langfuse, with(None)).await, 401);
    assert_eq!(status(&langfuse, with(Some("Bearer pk-lf-testkit"))).await, 403);
    assert_eq!(status(&langfuse, with(Some("Basic cGstbGYtdGVzdGtpdDp3cm9uZw=="))).await, 401);
    let wrong_public_key = "Basic cGstbGYtb3RoZXI6c2stbGYtdGVzdGtpdC1zZWNyZXQ=";
    assert_eq!(status(&langfuse, with(Some(wrong_public_key))).await, 401, "stricter than Langfuse");
    assert_eq!(langfuse.spans().len(), 0);
    assert_eq!(
        langfuse.requests().iter().filter_map(|request| request.status).collect::<Vec<_>>(),
        [401, 403, 401, 401]
    );
}

#[tokio::test]
async fn refuses_what_langfuse_refuses() {
    let langfuse = stand_in().await;
    let header = |name: &str, value: &str| set_header(good(), name, Some(value));
    for (why, request) in [
        ("content type", header("content-type", "text/plain")),
        ("deflate", header("content-encoding", "deflate")),
        ("no gzip", header("content-encoding", "gzip")),
        ("version 5", header("x-langfuse-ingestion-version", "5")),
        ("version NaN", header("x-langfuse-ingestion-version", "four")),
        ("bad JSON", Request { body: b"{".to_vec(), ..good() }),
        ("empty JSON", Request { body: Vec::new(), ..good() }),
        ("bad protobuf", Request { body: b"\xff\xff\xff".to_vec(), ..protobuf() }),
        ("attributes no array", request(export(&[with_field("attributes", json!({}))]).to_string().into())),
    ] {
        assert_eq!(status(&langfuse, request).await, 400, "{why}");
    }
    assert_eq!(langfuse.spans().len(), 0);
}

#[tokio::test]
async fn one_span_without_ids_spoils_the_batch() {
    let langfuse = stand_in().await;
    for (field, value) in [("traceId", ""), ("spanId", ""), ("traceId", "0af7"), ("spanId", "b7ad")] {
        let batch = export(&[good_span(), with_field(field, json!(value))]);
        assert_eq!(post(&langfuse, &batch).await.status, 400, "{field} {value:?}");
    }
    assert!(langfuse.spans().is_empty());
}

#[tokio::test]
async fn empty_requests_are_self_checks() {
    let langfuse = stand_in().await;
    let answer = send(langfuse.addr(), Request { body: Vec::new(), ..protobuf() }).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(post(&langfuse, &json!({})).await.status, 200);
    assert_eq!(langfuse.self_checks(), 2);
    let wrong = set_header(Request { body: Vec::new(), ..protobuf() }, "authorization", Some("Basic eA=="));
    assert_eq!(status(&langfuse, wrong).await, 401);
    assert_eq!(langfuse.self_checks(), 2);
}

fn legacy_batch() -> Request {
    let event =
        |kind: &str| json!({"id": kind, "type": kind, "timestamp": "2026-11-22T03:37:44Z", "body": {"id": "x"}});
    let body = json!({"batch": [event("trace-create"), event("generation-create"), event("score-create")]});
    Request { path: "/api/public/ingestion".into(), ..request(body.to_string().into_bytes()) }
}

fn statuses(answer: &Response, list: &str) -> Vec<Value> {
    answer.json()[list].as_array().unwrap().iter().map(|item| item["status"].clone()).collect()
}

#[tokio::test]
async fn the_legacy_endpoint_refuses_traces_event_by_event() {
    let langfuse = stand_in().await;
    let answer = send(langfuse.addr(), legacy_batch()).await;
    assert_eq!(
        (answer.status, statuses(&answer, "errors"), statuses(&answer, "successes")),
        (207, vec![json!(400); 2], vec![json!(201)])
    );
    assert_eq!(answer.json()["errors"][0]["message"], "Event type not accepted");
}

#[tokio::test]
async fn an_old_langfuse_only_has_the_legacy_endpoint() {
    let langfuse = StandIn::start(StandInOptions { generation: Generation::BeforeOtlp, ..Default::default() }).await;
    assert_eq!(status(&langfuse, good()).await, 404);
    let answer = send(langfuse.addr(), legacy_batch()).await;
    assert_eq!((answer.status, statuses(&answer, "successes").len(), langfuse.ingested().len()), (207, 3, 3));
}

#[tokio::test]
async fn misbehaves_as_told() {
    let langfuse = stand_in().await;
    langfuse.set_behaviour_for(Behaviour::rate_limited(2), 1);
    let limited = send(langfuse.addr(), good()).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("2")));
    for behaviour in [Behaviour::Reset(ResetAt::BeforeAnswer), Behaviour::DropAtAccept] {
        langfuse.set_behaviour_for(behaviour.clone(), 1);
        let broken = send(langfuse.addr(), good()).await;
        assert_eq!((broken.status, broken.complete), (0, false), "{behaviour:?}");
    }
    assert!(langfuse.spans().is_empty());
    langfuse.set_behaviour_for(Behaviour::Reset(ResetAt::MidAnswer), 1);
    let broken = send(langfuse.addr(), good()).await;
    assert_eq!((broken.status, broken.complete, langfuse.spans().len()), (200, false, 1));
    let normal = send(langfuse.addr(), good()).await;
    assert_eq!((normal.status, langfuse.duplicates()), (200, 1));
}

#[tokio::test]
async fn delays_and_silence() {
    let langfuse = stand_in().await;
    langfuse.set_behaviour(Behaviour::NeverAnswer);
    let addr = langfuse.addr();
    let unanswered = tokio::spawn(async move { send(addr, good()).await });
    assert_eq!(langfuse.wait_for_requests(1, SOON).await[0].status, None);
    assert!(!unanswered.is_finished());
    langfuse.set_behaviour_for(Behaviour::Delay(Duration::from_millis(100)), 1);
    let late = send(langfuse.addr(), good()).await;
    assert!(late.status == 200 && late.duration >= Duration::from_millis(100), "{late:?}");
    langfuse.clear();
    assert_eq!((langfuse.spans().len(), langfuse.requests().len()), (0, 0));
    drop(langfuse);
    assert_eq!(unanswered.await.unwrap().status, 0, "dropping the stand-in closes its connections");
}

#[tokio::test]
async fn health_is_open() {
    let langfuse = stand_in().await;
    assert_eq!(status(&langfuse, Request::get("/api/public/health")).await, 200);
    assert_eq!(status(&langfuse, Request::get("/api/public/otel/v1/logs")).await, 404);
}
