//! Answers that are right and unwelcome: partial success, a date to wait for, a byte at a time.

use crate::support::{export, good_span, post, with_field};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use testkit::langfuse::{AnswerFormat, Behaviour, StandIn, StandInOptions};

fn three() -> Value {
    let span = |id: &str| with_field("spanId", json!(id));
    export(&[good_span(), span("b7ad6b7100000002"), span("b7ad6b7100000003")])
}

#[tokio::test]
async fn refuses_some_spans_of_a_batch() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let partial = |format| Behaviour::PartialSuccess { rejected: 2, format };
    langfuse.set_behaviour_for(partial(AnswerFormat::Json), 1);
    let answer = post(&langfuse, &three()).await;
    let said = json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "scripted"}});
    assert_eq!((answer.status, answer.json(), langfuse.spans().len()), (200, said, 1));
    assert_eq!(langfuse.requests()[0].spans, 1);

    langfuse.clear();
    langfuse.set_behaviour_for(partial(AnswerFormat::Protobuf), 1);
    let answer = post(&langfuse, &three()).await;
    let said = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")));
    assert_eq!((said.rejected_spans, langfuse.spans().len()), (2, 1));

    langfuse.clear();
    langfuse.set_behaviour_for(partial(AnswerFormat::Json), 2);
    let empty = post(&langfuse, &export(&[])).await;
    assert_eq!(empty.text(), "{}", "nothing was sent, so nothing is refused");
    let one = post(&langfuse, &export(&[good_span()])).await;
    assert_eq!(one.json()["partialSuccess"]["rejectedSpans"], "1", "no more than there are");
}

#[tokio::test]
async fn refuses_a_batch_for_one_span() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    langfuse.set_behaviour(Behaviour::RefuseContaining("the-bad-one".into()));
    let bad = export(&[good_span(), with_field("name", json!("the-bad-one"))]);
    assert_eq!(post(&langfuse, &bad).await.status, 400);
    assert_eq!(post(&langfuse, &three()).await.status, 200);
    assert_eq!((langfuse.spans().len(), langfuse.requests()[0].spans), (3, 0));
}

#[tokio::test]
async fn asks_to_wait_until_a_date() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    langfuse.set_behaviour_for(Behaviour::rate_limited_until(time), 1);
    let answer = post(&langfuse, &three()).await;
    // The example of RFC 9110 section 5.6.7.
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("Sun, 06 Nov 1994 08:49:37 GMT")));
    assert!(langfuse.spans().is_empty());
}

#[tokio::test]
async fn answers_byte_by_byte() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let pause = Duration::from_millis(1);
    langfuse.set_behaviour_for(Behaviour::Trickle(pause), 1);
    let answer = post(&langfuse, &three()).await;
    assert_eq!((answer.status, answer.complete, langfuse.spans().len()), (200, true, 3));
    let bytes = u32::try_from(answer.body.len()).unwrap();
    assert!(answer.duration >= pause * bytes, "{bytes} bytes in {:?}", answer.duration);
}
