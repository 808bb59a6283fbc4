//! Langfuse answers, and does not take (all of) what it got.

use serde_json::json;
use testkit::langfuse::{AnswerFormat, Behaviour};

use super::{assert_all_arrive, assert_each_once, assert_log_is_modest, calls, numbers, rig};
use crate::rig::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_leave_in_few_requests() {
    let rig = rig(json!({"batch_max_age": 1000, "batch_max_items": 100})).await;
    calls(&rig, 0..250).await;
    assert_all_arrive(&rig, 250).await;
    let requests = rig.langfuse.requests();
    assert!((3..=25).contains(&requests.len()), "{} requests", requests.len());
    assert!(requests.iter().all(|request| request.spans <= 100));
    assert_eq!(rig.langfuse.duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_split() {
    let rig = rig(json!({"batch_max_age": 500})).await;
    rig.langfuse.set_behaviour_for(Behaviour::status(413), 2);
    calls(&rig, 0..16).await;
    let spans = rig.langfuse.wait_for_spans(16, SOON).await;
    rig.wait_until_settled(16).await;
    assert_each_once(&spans, 0..16);
    let requests = rig.langfuse.requests();
    let refused: Vec<usize> =
        requests.iter().filter(|request| request.status == Some(413)).map(|request| request.bytes).collect();
    let largest = requests.iter().filter(|request| request.status == Some(200)).map(|request| request.bytes).max();
    assert!(
        refused.len() == 2 && refused[1] < refused[0] && largest < refused.first().copied(),
        "{refused:?}, then {largest:?}"
    );
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (0, 0));

    // One that is too large alone is given up, the others are not.
    rig.langfuse.clear();
    rig.langfuse.set_behaviour_for(Behaviour::status(413), 1);
    calls(&rig, 0..1).await;
    rig.wait_for_counter("traces_dropped_reason=too_large", 1).await;
    calls(&rig, 0..1).await;
    rig.take_span().await;
    rig.wait_until_settled(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_span_does_not_cost_its_batch() {
    let rig = rig(json!({"batch_max_age": 500})).await;
    // The session stands in the bytes of the span.
    rig.langfuse.set_behaviour(Behaviour::RefuseContaining(format!("{} 13", super::QUESTION)));
    calls(&rig, 0..20).await;
    let spans = rig.langfuse.wait_for_spans(19, SOON).await;
    rig.wait_until_settled(20).await;
    let wanted: Vec<usize> = (0..20).filter(|n| *n != 13).collect();
    assert_eq!(numbers(&spans), wanted);
    assert_eq!((rig.counter("traces_sent").await, rig.counter("traces_dropped_reason=rejected").await), (19, 1));
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (1, 0));
    rig.langfuse.assert_no_violations();
    // Halving finds one among 20 in six requests; the log says it in no more lines than the limit of notes.
    let refused = rig.langfuse.requests().iter().filter(|request| request.status == Some(400)).count();
    assert!((1..=6).contains(&refused), "{refused} requests were refused");
    rig.envoy.wait_for_log("refused traces for good (HTTP 400)", SOON).await;
    rig.envoy.wait_for_log("traces dropped so far: 1 (rejected 1)", SOON).await;
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_langfuse_that_refuses_everything_is_not_asked_for_ever() {
    let rig = rig(json!({"batch_max_age": 1000})).await;
    rig.langfuse.set_behaviour(Behaviour::status(400));
    calls(&rig, 0..100).await;
    rig.wait_until_settled(100).await;
    assert_eq!(rig.counter("traces_dropped_reason=rejected").await, 100);
    let requests = rig.langfuse.requests().len();
    assert!(requests <= 50, "{requests} requests for 100 traces");
    rig.langfuse.set_behaviour(Behaviour::Normal);
    calls(&rig, 0..2).await;
    assert_each_once(&rig.langfuse.wait_for_spans(2, SOON).await, 0..2);
    rig.wait_until_settled(102).await;
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partial_success_rejects_is_counted_and_not_repeated() {
    let rig = rig(json!({"batch_max_age": 500})).await;
    let mut calls_made = 0;
    let mut rejected = 0;
    for format in [AnswerFormat::Json, AnswerFormat::Protobuf] {
        rig.langfuse.clear();
        rig.langfuse.set_behaviour_for(Behaviour::PartialSuccess { rejected: 2, format }, 1);
        calls(&rig, 0..8).await;
        calls_made += 8;
        rig.wait_until_settled(calls_made).await;
        let spans = rig.langfuse.spans().len() as u64;
        rejected += 8 - spans;
        assert!(spans < 8, "{format:?}");
        assert_eq!(rig.counter("traces_dropped_reason=rejected").await, rejected, "{format:?}");
        assert_eq!((rig.counter("traces_sent").await, rig.dropped().await), (calls_made - rejected, rejected));
        assert_eq!((rig.langfuse.duplicates(), rig.counter("export_calls_result=retried").await), (0, 0));
        rig.langfuse.assert_no_violations();
    }
    rig.envoy.wait_for_log("refused traces for good", SOON).await;
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_refused_now_and_then_does_not_fill_the_log() {
    let rig = rig(json!({})).await;
    for round in 1..=3 {
        rig.langfuse.set_behaviour_for(Behaviour::status(400), 1);
        calls(&rig, 0..1).await;
        rig.wait_for_counter("traces_dropped_reason=rejected", round).await;
        calls(&rig, 0..1).await;
        rig.wait_for_counter("traces_sent", round).await;
    }
    let log = rig.envoy.log();
    // A VM that is connected stays connected while Langfuse answers: it says so once (main thread, worker).
    assert_eq!(log.matches("connected to Langfuse").count(), 2, "{log}");
    assert_log_is_modest(&log, super::VMS);
}
