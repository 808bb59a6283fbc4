//! Which of Langfuse's APIs takes the traces: found out, and found out again when the server becomes another one.

use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::langfuse::{Behaviour, Generation};
use testkit::upstream::Script;

use super::{assert_all_arrive, assert_each_once, assert_log_is_modest, calls, rig_of};
use crate::rig::{Rig, SOON};

const OTLP: &str = "/api/public/otel/v1/traces";
const INGESTION: &str = "/api/public/ingestion";

/// Requests to this API that carried a body with traces.
fn batches(rig: &Rig, path: &str) -> usize {
    let requests = rig.langfuse.requests();
    requests.iter().filter(|request| request.path == path && request.spans > 0).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_gets_the_legacy_batch() {
    for generation in [Generation::BeforeOtlp, Generation::V2] {
        let rig = rig_of(generation, json!({})).await;
        calls(&rig, 0..30).await;
        assert_all_arrive(&rig, 30).await;
        // What has no OTLP is not asked for it with each batch: the self check has found out.
        assert!(rig.langfuse.requests().iter().all(|request| request.path == INGESTION), "{generation:?}");
        assert_eq!(rig.langfuse.duplicates(), 0);
        let log = rig.envoy.log();
        assert_eq!(log.matches("trying its legacy ingestion API").count(), 2, "once in a VM: {log}");
        assert_eq!(log.matches("by its legacy ingestion API").count(), 2, "once in a VM: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_an_old_server_does_not_know_is_sent_as_one_that_it_knows() {
    let rig = rig_of(Generation::BeforeOtlp, json!({})).await;
    let answer = json!({"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]});
    rig.upstream.fallback(move |_| Some(Script::json(200, &answer)));
    for n in 0..2 {
        let body = json!({"model": "text-embedding-3-small", "input": "hi"});
        let request = Request::post_json("/v1/embeddings", &body, &[("x-session-id", &n.to_string())]);
        assert_eq!(client::send(rig.envoy.addr(), request).await.status, 200);
    }
    assert_all_arrive(&rig, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_legacy_answer_counts_for_itself() {
    let rig = rig_of(Generation::BeforeOtlp, json!({"batch_max_age": 300})).await;
    // Trouble of the server's own: each event once, so that the next try succeeds.
    rig.langfuse.set_behaviour(Behaviour::ItemErrors { every: 3, status: 500 });
    calls(&rig, 0..20).await;
    assert_all_arrive(&rig, 20).await;
    assert!(rig.counter("export_calls_result=retried").await >= 1);

    // Refused for good: those are counted, the others are there.
    rig.langfuse.clear();
    rig.langfuse.set_behaviour(Behaviour::ItemErrors { every: 4, status: 400 });
    calls(&rig, 20..40).await;
    rig.wait_until_settled(40).await;
    let rejected = rig.counter("traces_dropped_reason=rejected").await;
    assert!((1..=19).contains(&rejected) && rig.dropped().await == rejected, "{rejected}");
    assert_eq!(rig.langfuse.spans().len() as u64, 20 - rejected);
    assert_eq!(rig.counter("traces_sent").await, 40 - rejected);
    rig.langfuse.assert_no_violations();
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_upgraded_or_set_back_meanwhile_loses_nothing() {
    let rig = rig_of(Generation::BeforeOtlp, json!({})).await;
    let steps = [
        (Generation::BeforeOtlp, INGESTION),
        // Both APIs: what works is kept.
        (Generation::V3, INGESTION),
        // Refuses the events of traces: OTLP at once.
        (Generation::V4, OTLP),
        // An older one is restored: no OTLP any more.
        (Generation::BeforeOtlp, INGESTION),
    ];
    for (step, (generation, path)) in steps.into_iter().enumerate() {
        rig.langfuse.set_generation(generation);
        rig.langfuse.clear();
        calls(&rig, step * 10..step * 10 + 10).await;
        let spans = rig.langfuse.wait_for_spans(10, SOON).await;
        assert_each_once(&spans, step * 10..step * 10 + 10);
        rig.wait_until_settled(step as u64 * 10 + 10).await;
        let other = if path == OTLP { INGESTION } else { OTLP };
        assert!(batches(&rig, path) > 0 && batches(&rig, other) == 0, "{generation:?} by {path}");
        rig.langfuse.assert_no_violations();
    }
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (0, 0));
    rig.envoy.wait_for_log("takes traces by OTLP: using it from now on", SOON).await;
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_set_is_kept_and_what_is_wrong_with_it_is_said() {
    tokio::join!(
        kept(Generation::V4, json!({"protocol": "ingestion"}), INGESTION, "set protocol to auto or otlp"),
        kept(Generation::BeforeOtlp, json!({"protocol": "otlp"}), OTLP, "check langfuse_endpoint"),
    );
}

/// Five traces that this server does not take by the protocol that is set: none is sent otherwise, none is lost.
async fn kept(generation: Generation, more: Value, path: &str, said: &str) {
    let rig =
        Rig::start_against(testkit::langfuse::StandInOptions { generation, ..Default::default() }, more, |_| {}).await;
    rig.upstream.fallback(|_| Some(crate::calls::answer()));
    calls(&rig, 0..5).await;
    rig.envoy.wait_for_log(said, SOON).await;
    super::assert_kept(&rig, 5).await;
    assert!(rig.langfuse.requests().iter().all(|request| request.path == path) && rig.langfuse.spans().is_empty());
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
}
