//! Langfuse fails, and comes back: what was traced arrives, once, and every trace is accounted for.

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::langfuse::{Behaviour, ResetAt, Span};

use crate::calls::answer;
use crate::rig::{Rig, SOON};

fn call(n: usize) -> Request {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": format!("question {n}")}]});
    Request::post_json("/v1/chat/completions", &body, &[("x-session-id", &n.to_string())])
}

/// A gateway whose self check is over.
async fn rig(more: Value) -> Rig {
    let rig = Rig::start(more).await;
    rig.upstream.fallback(|_| Some(answer()));
    // The main thread's VM and the worker's.
    rig.langfuse.wait_for_requests(2, SOON).await;
    rig.langfuse.clear();
    rig
}

/// Makes `count` calls; all must pass.
async fn calls(rig: &Rig, count: usize) {
    let results = client::burst(rig.envoy.addr(), count, 4, call).await;
    let passed = |result: &Result<Response, String>| result.as_ref().is_ok_and(|answer| answer.status == 200);
    assert!(results.iter().all(passed), "a call failed because Langfuse did");
}

/// Each of `count` calls is there once.
fn assert_each_once(spans: &[Span], count: usize) {
    let mut sessions: Vec<usize> = spans.iter().filter_map(|span| span.session()?.parse().ok()).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, (0..count).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_leave_in_few_requests() {
    let rig = rig(json!({"batch_max_age": 1000, "batch_max_items": 100})).await;
    calls(&rig, 250).await;
    let spans = rig.langfuse.wait_for_spans(250, SOON).await;
    assert_each_once(&spans, 250);
    rig.wait_until_settled(250).await;
    let requests = rig.langfuse.requests();
    assert!((3..=25).contains(&requests.len()), "{} requests", requests.len());
    assert!(requests.iter().all(|request| request.spans <= 100));
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (0, 0));
    rig.langfuse.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_doubles_nothing() {
    for behaviour in [Behaviour::status(503), Behaviour::Reset(ResetAt::BeforeAnswer), Behaviour::DropAtAccept] {
        let rig = rig(json!({})).await;
        rig.langfuse.set_behaviour_for(behaviour.clone(), 2);
        calls(&rig, 30).await;
        let spans = rig.langfuse.wait_for_spans(30, SOON).await;
        rig.wait_until_settled(30).await;
        assert_each_once(&spans, 30);
        rig.langfuse.assert_no_violations();
        assert_eq!((rig.langfuse.duplicates(), rig.dropped().await), (0, 0), "{behaviour:?}");
        assert!(rig.counter("export_calls_result=retried").await >= 1, "{behaviour:?}");
        let log = rig.envoy.log();
        assert!(log.contains("trying again") && log.matches("trying again").count() == 1, "said once: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_may_double_with_the_same_bytes_only() {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour_for(Behaviour::Reset(ResetAt::MidAnswer), 1);
    calls(&rig, 20).await;
    rig.wait_until_settled(20).await;
    assert_each_once(&rig.langfuse.wait_for_spans(20, SOON).await, 20);
    // A repetition with other bytes would be a violation.
    rig.langfuse.assert_no_violations();
    assert_eq!(rig.counter("traces_sent").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_split() {
    let rig = rig(json!({"batch_max_age": 500})).await;
    rig.langfuse.set_behaviour_for(Behaviour::status(413), 2);
    calls(&rig, 16).await;
    let spans = rig.langfuse.wait_for_spans(16, SOON).await;
    rig.wait_until_settled(16).await;
    assert_each_once(&spans, 16);
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
    calls(&rig, 1).await;
    rig.wait_for_counter("traces_dropped_reason=too_large", 1).await;
    calls(&rig, 1).await;
    rig.take_span().await;
    rig.wait_until_settled(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_respected() {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour_for(Behaviour::rate_limited(2), 1);
    calls(&rig, 5).await;
    assert_each_once(&rig.langfuse.wait_for_spans(5, SOON).await, 5);
    rig.wait_until_settled(5).await;
    let requests = rig.langfuse.requests();
    let limited = requests.iter().position(|request| request.status == Some(429)).expect("the 429");
    // What the server asks for is a lower bound that a slow machine cannot break.
    let waited = requests[limited + 1].at - requests[limited].at;
    assert!(waited.as_secs_f64() >= 1.9, "asked again after {waited:?}");
    rig.langfuse.assert_no_violations();
    assert_eq!(rig.dropped().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_dropped_counted_and_not_repeated() {
    let rig = rig(json!({"batch_max_age": 300})).await;
    rig.langfuse.set_behaviour_for(Behaviour::status(400), 1);
    calls(&rig, 3).await;
    rig.wait_for_counter("export_calls_result=refused", 1).await;
    rig.wait_for_counter("traces_offered", 3).await;
    calls(&rig, 2).await;
    rig.wait_until_settled(5).await;
    let rejected = rig.counter("traces_dropped_reason=rejected").await;
    assert!(rejected >= 1 && rejected == rig.dropped().await, "{rejected}");
    assert_eq!(rig.counter("traces_sent").await, 5 - rejected);
    rig.envoy.wait_for_log("refused a batch for good (HTTP 400)", SOON).await;
    rig.envoy.wait_for_log("traces dropped so far", SOON).await;
    assert_eq!(rig.langfuse.requests().iter().filter(|request| request.status == Some(400)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_langfuse_that_is_dead_costs_traces_and_no_call() {
    let rig =
        rig(json!({"langfuse_timeout": 200, "queue_max_items": 10, "batch_max_items": 5, "retry_max_age": 1000})).await;
    rig.langfuse.set_behaviour(Behaviour::NeverAnswer);
    calls(&rig, 60).await;
    rig.wait_for_counter("traces_offered", 60).await;
    assert!(rig.counter("traces_dropped_reason=queue_full").await >= 40);
    rig.langfuse.wait_for_requests(3, SOON).await;
    rig.langfuse.set_behaviour(Behaviour::Normal);
    rig.wait_until_settled(60).await;
    let sent = rig.counter("traces_sent").await;
    assert!((1..=20).contains(&sent), "{sent} sent");
    assert!(rig.counter("traces_dropped_reason=expired").await <= 5);
    rig.langfuse.assert_no_violations();
    let newest = rig.langfuse.spans().iter().filter_map(|span| span.session()?.parse::<usize>().ok()).max();
    assert!(newest >= Some(55), "the newest are kept: {newest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_langfuse_that_comes_up_later_gets_what_waited() {
    let rig = Rig::start(json!({})).await;
    // The first self checks find it dead.
    rig.langfuse.set_behaviour_for(Behaviour::status(503), 3);
    rig.upstream.fallback(|_| Some(answer()));
    calls(&rig, 10).await;
    assert_each_once(&rig.langfuse.wait_for_spans(10, SOON).await, 10);
    rig.wait_until_settled(10).await;
    rig.langfuse.assert_no_violations();
    assert_eq!(rig.dropped().await, 0);
    rig.envoy.wait_for_log("connected to Langfuse", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_refused_now_and_then_does_not_fill_the_log() {
    let rig = rig(json!({})).await;
    rig.envoy.wait_for_log("connected to Langfuse", SOON).await;
    for round in 1..=3 {
        rig.langfuse.set_behaviour_for(Behaviour::status(400), 1);
        calls(&rig, 1).await;
        rig.wait_for_counter("traces_dropped_reason=rejected", round).await;
        calls(&rig, 1).await;
        rig.wait_for_counter("traces_sent", round).await;
    }
    let log = rig.envoy.log();
    // A VM that is connected stays connected while Langfuse answers: it says so once (main thread, worker).
    assert_eq!(log.matches("connected to Langfuse").count(), 2, "{log}");
}
