//! Nobody answers, or not in time, or with what asks to come again: everything is sent again, the same bytes.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use testkit::langfuse::{Behaviour, ResetAt, StandIn, StandInOptions};

use super::{assert_all_arrive, assert_each_once, assert_kept, assert_log_is_modest, calls, numbers, rig};
use crate::calls::answer;
use crate::rig::{Rig, SOON};

/// The batches that were answered with this status, or not at all.
fn batches(rig: &Rig, status: Option<u16>) -> Vec<testkit::langfuse::RequestRecord> {
    let requests = rig.langfuse.requests();
    requests.into_iter().filter(|request| request.status == status && request.bytes > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_loses_nothing_and_doubles_nothing() {
    tokio::join!(
        short(Behaviour::status(503), "answers HTTP 503"),
        short(Behaviour::Reset(ResetAt::BeforeAnswer), "no answer from Langfuse"),
        short(Behaviour::DropAtAccept, "no answer from Langfuse"),
    );
}

/// Two requests fail like this.
async fn short(behaviour: Behaviour, said: &str) {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour_for(behaviour.clone(), 2);
    calls(&rig, 0..30).await;
    assert_all_arrive(&rig, 30).await;
    assert_eq!(rig.langfuse.duplicates(), 0, "{behaviour:?}");
    assert!(rig.counter("export_calls_result=retried").await >= 1, "{behaviour:?}");
    let log = rig.envoy.log();
    assert_eq!(log.matches("trying again").count(), 1, "said once: {log}");
    assert!(log.contains(said), "{behaviour:?}: {log}");
}

/// Those that last: side by side, because they mostly wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_loses_nothing_and_doubles_nothing() {
    tokio::join!(unavailable_for_long(), restarted_at_the_same_address(), limited_until_a_date(), never_answering());
}

/// 503 for 7 s at least: tries after 0, 1, 3 and 7 s are refused, all that waits arrives with the next.
async fn unavailable_for_long() {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour(Behaviour::status(503));
    calls(&rig, 0..20).await;
    rig.langfuse.wait_for_requests(3, SOON).await;
    calls(&rig, 20..40).await;
    rig.langfuse.wait_for_requests(4, SOON).await;
    assert_kept(&rig, 40).await;
    rig.langfuse.set_behaviour(Behaviour::Normal);
    assert_all_arrive(&rig, 40).await;
    let refused = batches(&rig, Some(503));
    // Lower bounds, which a slow machine cannot break.
    let waits: Vec<f64> = refused.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    assert!(waits.len() == 3 && waits.iter().zip([0.9, 1.9, 3.9]).all(|(wait, least)| *wait >= least), "{waits:?}");
    assert_eq!(refused.iter().map(|request| request.bytes).max(), refused.iter().map(|request| request.bytes).min());
    assert_eq!(rig.langfuse.duplicates(), 0);
}

/// Its process ends and comes back; no connection outlives it.
async fn restarted_at_the_same_address() {
    let mut rig = rig(json!({})).await;
    calls(&rig, 0..10).await;
    assert_each_once(&rig.langfuse.wait_for_spans(10, SOON).await, 0..10);
    rig.wait_for_counter("traces_sent", 10).await;
    let bind = rig.langfuse.addr();
    drop(rig.langfuse);
    client_calls_while_away(&rig.envoy).await;
    rig.langfuse = StandIn::start(StandInOptions { bind, ..StandInOptions::default() }).await;
    assert_each_once(&rig.langfuse.wait_for_spans(20, SOON).await, 10..30);
    rig.wait_until_settled(30).await;
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (0, 0));
    rig.langfuse.assert_no_violations();
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
    assert!(rig.envoy.log().contains("no answer from Langfuse"), "{}", rig.envoy.log());
}

/// Twenty calls while nobody listens, until two tries have failed.
async fn client_calls_while_away(envoy: &testkit::envoy::Envoy) {
    let results = testkit::client::burst(envoy.addr(), 20, 4, |n| super::call(10 + n)).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|a| a.status == 200 && a.body == answer().body())));
    let retried = "wasmcustom.ai_tracing_export_calls_result=retried";
    envoy.wait_for_stat(retried, |retried| retried >= 2, SOON).await;
}

#[allow(clippy::disallowed_methods, reason = "a date for the server to name")]
async fn limited_until_a_date() {
    let rig = rig(json!({})).await;
    // A date has whole seconds, so this asks to wait for three to four.
    let until = SystemTime::now() + Duration::from_secs(4);
    let since_epoch = until.duration_since(SystemTime::UNIX_EPOCH).expect("a date after 1970");
    let earliest = Instant::now() + Duration::from_secs(4) - Duration::from_nanos(since_epoch.subsec_nanos().into());
    rig.langfuse.set_behaviour_for(Behaviour::rate_limited_until(until), 1);
    calls(&rig, 0..5).await;
    assert_all_arrive(&rig, 5).await;
    assert_eq!(batches(&rig, Some(429)).len(), 1);
    let next = batches(&rig, Some(200)).first().expect("the next try").at;
    // Milliseconds of the filter's clock are cut.
    assert!(next + Duration::from_millis(50) >= earliest, "asked {:?} too early", earliest - next);
}

/// Accepts and never answers: the timeout of the call counts.
async fn never_answering() {
    let rig = rig(json!({"langfuse_timeout": 200})).await;
    rig.langfuse.set_behaviour_for(Behaviour::NeverAnswer, 2);
    calls(&rig, 0..20).await;
    assert_all_arrive(&rig, 20).await;
    assert_eq!((batches(&rig, None).len(), rig.langfuse.duplicates()), (2, 0));
    assert!(rig.envoy.log().contains("no answer from Langfuse"), "{}", rig.envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_in_seconds_is_respected() {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour_for(Behaviour::rate_limited(2), 1);
    calls(&rig, 0..5).await;
    assert_all_arrive(&rig, 5).await;
    let requests = rig.langfuse.requests();
    let limited = requests.iter().position(|request| request.status == Some(429)).expect("the 429");
    // What the server asks for is a lower bound that a slow machine cannot break.
    let waited = requests[limited + 1].at - requests[limited].at;
    assert!(waited.as_secs_f64() >= 1.9, "asked again after {waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_comes_too_late_may_double_with_the_same_bytes_only() {
    let late = Behaviour::Trickle(Duration::from_millis(20));
    for (behaviour, timeout) in [(Behaviour::Reset(ResetAt::MidAnswer), 5000), (late, 300)] {
        let rig = rig(json!({"langfuse_timeout": timeout})).await;
        rig.langfuse.set_behaviour_for(behaviour.clone(), 1);
        calls(&rig, 0..20).await;
        // A repetition with other bytes would be a violation.
        assert_all_arrive(&rig, 20).await;
        assert!(rig.langfuse.duplicates() >= 1, "{behaviour:?}: stored, not answered, sent again");
        assert_eq!(rig.counter("export_calls_result=retried").await, 1, "{behaviour:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_trickles_in_within_the_timeout_is_an_answer() {
    let rig = rig(json!({})).await;
    rig.langfuse.set_behaviour_for(Behaviour::Trickle(Duration::from_millis(2)), 1);
    calls(&rig, 0..10).await;
    assert_all_arrive(&rig, 10).await;
    assert_eq!((rig.langfuse.duplicates(), rig.counter("export_calls_result=retried").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_langfuse_that_is_away_for_longer_than_the_queue_holds_costs_the_oldest_traces_and_no_call() {
    let rig =
        rig(json!({"langfuse_timeout": 200, "queue_max_items": 10, "batch_max_items": 5, "retry_max_age": 1000})).await;
    rig.langfuse.set_behaviour(Behaviour::NeverAnswer);
    calls(&rig, 0..60).await;
    rig.wait_for_counter("traces_offered", 60).await;
    assert!(rig.counter("traces_dropped_reason=queue_full").await >= 40);
    rig.langfuse.wait_for_requests(3, SOON).await;
    rig.langfuse.set_behaviour(Behaviour::Normal);
    rig.wait_until_settled(60).await;
    let sent = rig.counter("traces_sent").await;
    let spans = rig.langfuse.spans();
    assert!((1..=20).contains(&sent) && spans.len() as u64 == sent, "{sent} sent, {} there", spans.len());
    assert!(rig.counter("traces_dropped_reason=expired").await <= 5);
    rig.langfuse.assert_no_violations();
    let newest = numbers(&spans).last().copied();
    assert!(newest >= Some(55), "the newest are kept: {newest:?}");
    assert_log_is_modest(&rig.envoy.log(), super::VMS);
    assert!(rig.envoy.log().contains("traces dropped so far"), "{}", rig.envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_langfuse_that_comes_up_later_gets_what_waited() {
    let rig = Rig::start(json!({})).await;
    // The first self checks find it dead.
    rig.langfuse.set_behaviour_for(Behaviour::status(503), 3);
    rig.upstream.fallback(|_| Some(answer()));
    calls(&rig, 0..10).await;
    assert_all_arrive(&rig, 10).await;
    rig.envoy.wait_for_log("connected to Langfuse", SOON).await;
}

/// Nobody listens: Envoy answers in the server's place, also before the first call has told that it is Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_the_first_line_says_that_nobody_answers() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = json!({"langfuse_enabled": true, "langfuse_public_key": "pk", "langfuse_secret_key": "sk",
        "langfuse_endpoint": format!("http://{nobody}")});
    let filter = testkit::envoy::WasmFilter::new("ai-tracing", crate::rig::module(), &config);
    let options = testkit::envoy::EnvoyOptions::new(nobody).with_langfuse(nobody).with_filter(filter);
    let envoy = testkit::envoy::Envoy::start(testkit::envoy::EnvoyOptions { concurrency: 2, ..options }).await;
    envoy.wait_for_log("no answer from Langfuse", SOON).await;
    assert!(!envoy.log().contains("answers HTTP 503"), "{}", envoy.log());
    // All of the process's VMs have met it, and one of them has said it for all.
    envoy.wait_for_stat("wasmcustom.ai_tracing_export_calls_result=retried", |count| count >= 3, SOON).await;
    assert_eq!(envoy.log().matches("no answer from Langfuse").count(), 1, "{}", envoy.log());
    // The account is there before there is a trace.
    envoy.wait_for_stat("wasmcustom.ai_tracing_traces_offered", |count| count == 0, SOON).await;
    let stats = envoy.stats().await;
    assert_eq!(stats.get("wasmcustom.ai_tracing_traces_dropped_reason=queue_full"), Some(&0), "{stats:?}");
}
