//! The gateway gets another configuration, drains, or ends: what is queued is sent, and what cannot be is counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::envoy::EnvoyOptions;
use testkit::langfuse::{Behaviour, Span, StandInOptions};

use super::{
    VMS, assert_all_arrive, assert_each_once, assert_log_is_modest, call, calls, filter, numbers, rig, rig_with,
};
use crate::calls::answer;
use crate::rig::{Rig, SOON};

/// A gateway whose filters can be replaced.
async fn replaceable(langfuse: StandInOptions, more: Value) -> Rig {
    let rig = Rig::start_against(langfuse, more, |options| options.replaceable = true).await;
    rig.upstream.fallback(|_| Some(answer()));
    rig
}

fn environments(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().filter_map(|span| span.text("langfuse.environment")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_replaced_under_load_costs_neither_calls_nor_traces() {
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];
    let rig = replaceable(StandInOptions::default(), json!({"environment": NAMES[0], "batch_max_age": 2000})).await;
    let over = Arc::new(AtomicBool::new(false));
    let load = {
        let (over, addr) = (Arc::clone(&over), rig.envoy.addr());
        tokio::spawn(async move {
            let mut made = 0;
            while !over.load(Ordering::Relaxed) {
                let results = testkit::client::burst(addr, 50, 4, move |n| call(made + n)).await;
                let failed: Vec<_> = results
                    .iter()
                    .filter(|result| {
                        !result.as_ref().is_ok_and(|a| a.status == 200 && a.complete && a.body == answer().body())
                    })
                    .collect();
                assert!(failed.is_empty(), "after {made} calls: {failed:?}");
                made += 50;
            }
            made
        })
    };
    for name in NAMES {
        if name != NAMES[0] {
            let new = filter(&rig.langfuse, &json!({"environment": name, "batch_max_age": 2000}));
            assert!(rig.envoy.replace_filters(&[new], SOON).await, "{name}");
        }
        rig.langfuse.wait_until(|spans| environments(spans).contains(name), SOON).await;
    }
    over.store(true, Ordering::Relaxed);
    let made = load.await.expect("every call passes");
    let spans = rig.langfuse.wait_for_spans(made, SOON).await;
    rig.wait_until_settled(made as u64).await;
    assert_each_once(&spans, 0..made);
    assert_eq!(environments(&spans), BTreeSet::from(NAMES));
    assert_eq!((rig.counter("traces_sent").await, rig.dropped().await), (made as u64, 0));
    rig.langfuse.assert_no_violations();
    assert_log_is_modest(&rig.envoy.log(), VMS * NAMES.len());
}

/// Those that last: side by side, because they mostly wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_replaced_sends_what_it_has_for_ten_seconds() {
    tokio::join!(to_a_langfuse_that_is_well(), to_a_langfuse_that_comes_back(), to_a_langfuse_that_refuses_the_keys());
}

/// Traces that would have waited for a minute leave when their root ends.
async fn to_a_langfuse_that_is_well() {
    let rig = replaceable(StandInOptions::default(), json!({"batch_max_age": 60000})).await;
    calls(&rig, 0..20).await;
    super::assert_kept(&rig, 20).await;
    let new = filter(&rig.langfuse, &json!({"environment": "new"}));
    assert!(rig.envoy.replace_filters(&[new], SOON).await);
    assert_all_arrive_of(&rig, 20, 2 * VMS).await;
    assert!(rig.envoy.log().contains("ends: sending 20 traces"), "{}", rig.envoy.log());
}

async fn assert_all_arrive_of(rig: &Rig, count: usize, roots: usize) {
    let spans = rig.langfuse.wait_for_spans(count, SOON).await;
    rig.wait_until_settled(count as u64).await;
    assert_each_once(&spans, 0..count);
    assert_eq!((rig.dropped().await, rig.langfuse.duplicates()), (0, 0));
    rig.langfuse.assert_no_violations();
    assert_log_is_modest(&rig.envoy.log(), roots);
}

async fn to_a_langfuse_that_comes_back() {
    let rig = replaceable(StandInOptions::default(), json!({})).await;
    super::wait_for_lines(&rig, "connected to Langfuse", VMS).await;
    rig.langfuse.clear();
    rig.langfuse.set_behaviour(Behaviour::status(503));
    calls(&rig, 0..20).await;
    rig.langfuse.wait_for_requests(1, SOON).await;
    let new = filter(&rig.langfuse, &json!({"environment": "new"}));
    assert!(rig.envoy.replace_filters(&[new], SOON).await);
    rig.envoy.wait_for_log("ends: sending 20 traces", SOON).await;
    rig.langfuse.set_behaviour(Behaviour::Normal);
    assert_all_arrive_of(&rig, 20, 2 * VMS).await;
}

/// The keys were wrong and are corrected. What the old root has, it has for the old keys: it is refused once more, and
/// counted as lost when its ten seconds are over. The new root sends all that comes after.
async fn to_a_langfuse_that_refuses_the_keys() {
    let rig = replaceable(StandInOptions::default(), json!({"langfuse_secret_key": "sk-lf-of-another-project"})).await;
    calls(&rig, 0..10).await;
    rig.envoy.wait_for_log("refuses the keys", SOON).await;
    super::assert_kept(&rig, 10).await;
    assert!(rig.envoy.replace_filters(&[filter(&rig.langfuse, &json!({}))], SOON).await);
    calls(&rig, 10..20).await;
    assert_each_once(&rig.langfuse.wait_for_spans(10, SOON).await, 10..20);
    rig.wait_until_settled(20).await;
    assert_eq!((rig.counter("traces_sent").await, rig.counter("traces_dropped_reason=shutdown").await), (10, 10));
    assert_eq!((rig.dropped().await, rig.langfuse.spans().len()), (10, 10));
    rig.langfuse.assert_no_violations();
    let log = rig.envoy.log();
    assert!(log.contains("ends with 10 traces not sent") && !log.contains("sk-lf-of-another-project"), "{log}");
    assert_log_is_modest(&log, 2 * VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_before_it_ends_loses_nothing() {
    for drain in ["/drain_listeners?graceful", "/healthcheck/fail"] {
        let rig = rig(json!({"batch_max_age": 1000})).await;
        calls(&rig, 0..20).await;
        rig.envoy.post_admin(drain).await;
        assert_all_arrive(&rig, 20).await;
        let (langfuse, log) = ended(rig).await;
        assert_each_once(&langfuse.spans(), 0..20);
        assert!(!log.contains("not sent"), "{drain}: {log}");
    }
}

/// Ends Envoy by SIGTERM; the upstream goes with it.
async fn ended(rig: Rig) -> (testkit::langfuse::StandIn, String) {
    let Rig { langfuse, envoy, .. } = rig;
    let log = envoy.terminate().await;
    (langfuse, log)
}

/// A connection for each export call, as after an idle time that closes them.
fn no_open_connection(options: &mut EnvoyOptions) {
    options.customise = Some(|bootstrap| {
        for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters") {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "common_http_protocol_options": {"max_requests_per_connection": 1},
                    "explicit_http_config": {"http_protocol_options": {}},
                },
            });
        }
    });
}

/// Twenty traces with prompts of so many bytes are queued when SIGTERM comes: how many arrive, and what the log says.
async fn at_sigterm(open: bool, prompt: usize) -> (usize, String) {
    let change = |options: &mut EnvoyOptions| {
        if !open {
            no_open_connection(options)
        }
    };
    let more = json!({"batch_max_age": 60000, "batch_max_bytes": 16_000_000, "max_input_bytes": prompt + 100});
    let rig = rig_with(StandInOptions::default(), more, change).await;
    let long = move |n: usize| {
        let messages = json!([{"role": "user", "content": "x".repeat(prompt)}]);
        let session = n.to_string();
        let headers = [("x-session-id", session.as_str())];
        Request::post_json("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": messages}), &headers)
    };
    let results = testkit::client::burst(rig.envoy.addr(), 20, 4, long).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|a| a.status == 200 && a.body == answer().body())));
    super::assert_kept(&rig, 20).await;
    let (langfuse, log) = ended(rig).await;
    let spans = langfuse.spans_within(20, Duration::from_secs(1)).await;
    langfuse.assert_no_violations();
    let arrived = numbers(&spans);
    assert!(arrived.is_empty() || arrived == (0..20).collect::<Vec<_>>(), "one call, all or nothing: {arrived:?}");
    assert_log_is_modest(&log, VMS);
    (arrived.len(), log)
}

/// What is queued then is not older than `batch_max_age`. It goes out by one last call, which arrives where a connection
/// is open and takes it whole.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_sends_what_is_queued_once_more() {
    let (arrived, log) = at_sigterm(true, 100).await;
    assert!(log.contains("ends: sending 20 traces"), "{log}");
    assert_eq!(arrived, 20, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test envoy measures_sigterm -- --ignored --nocapture"]
async fn measures_sigterm() {
    const TIMES: usize = 5;
    for (open, prompt) in [(true, 100), (true, 10_000), (true, 100_000), (false, 100)] {
        let mut arrived = Vec::new();
        for _ in 0..TIMES {
            arrived.push(at_sigterm(open, prompt).await.0);
        }
        let connection = if open { "open" } else { "to be made" };
        println!(
            "SIGTERM, 20 traces of {prompt} bytes queued, connection to Langfuse {connection}: {arrived:?} arrived"
        );
    }
}
