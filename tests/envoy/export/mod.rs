//! Langfuse fails, comes back, is another version, is another project, or the gateway ends: what was traced arrives,
//! once, every trace is accounted for, no call notices, and the log stays short.

mod answers;
mod end_of_life;
mod metrics;
mod outages;
mod projects;
mod protocol;
mod receiver;

use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::envoy::EnvoyOptions;
use testkit::langfuse::{Generation, Span, StandIn, StandInOptions};

use crate::calls::answer;
use crate::rig::{PUBLIC_KEY, Rig, SECRET_KEY, SOON, config, module};

/// A question that no log may show.
const QUESTION: &str = "question-of-a-caller";
/// VMs that say where traces go: the main thread's and the worker's.
const VMS: usize = 2;
/// Lines that one root context may write in a minute: where traces go, six notes, drops.
const LINES_MAX: usize = 8;

/// The call of that number, which is its session.
fn call(n: usize) -> Request {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": format!("{QUESTION} {n}")}]});
    Request::post_json("/v1/chat/completions", &body, &[("x-session-id", &n.to_string())])
}

/// A gateway whose self check is over.
async fn rig(more: Value) -> Rig {
    rig_with(StandInOptions::default(), more, |_| {}).await
}

/// The same before a Langfuse of that generation.
async fn rig_of(generation: Generation, more: Value) -> Rig {
    rig_with(StandInOptions { generation, ..StandInOptions::default() }, more, |_| {}).await
}

async fn rig_with(langfuse: StandInOptions, more: Value, change: impl FnOnce(&mut EnvoyOptions)) -> Rig {
    let rig = Rig::start_against(langfuse, more, change).await;
    rig.upstream.fallback(|_| Some(answer()));
    wait_for_lines(&rig, "connected to Langfuse", VMS).await;
    rig.langfuse.clear();
    rig
}

/// A filter that traces to `langfuse`, for [`testkit::envoy::Envoy::replace_filters`].
fn filter(langfuse: &StandIn, more: &Value) -> testkit::envoy::WasmFilter {
    testkit::envoy::WasmFilter::new("ai-tracing", module(), &config(langfuse, more))
}

/// Makes the calls of these numbers; each must pass, with the bytes that the upstream sent.
async fn calls(rig: &Rig, numbers: Range<usize>) {
    let first = numbers.start;
    let sent = answer().body();
    let results = client::burst(rig.envoy.addr(), numbers.len(), 4, move |n| call(first + n)).await;
    for (n, result) in results.iter().enumerate() {
        let passed = result.as_ref().is_ok_and(|answer| answer.status == 200 && answer.complete && answer.body == sent);
        assert!(passed, "call {} failed because Langfuse did: {result:?}", first + n);
    }
}

/// The calls whose spans these are.
fn numbers(spans: &[Span]) -> Vec<usize> {
    let mut numbers: Vec<usize> = spans.iter().filter_map(|span| span.session()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Each of these calls is there once, and no other.
#[track_caller]
fn assert_each_once(spans: &[Span], wanted: Range<usize>) {
    assert_eq!(numbers(spans), wanted.collect::<Vec<_>>());
}

/// All calls arrive, each once; nothing was dropped, no rule broken, and the log is as [`assert_log_is_modest`] wants.
async fn assert_all_arrive(rig: &Rig, count: usize) {
    let spans = rig.langfuse.wait_for_spans(count, SOON).await;
    rig.wait_until_settled(count as u64).await;
    assert_each_once(&spans, 0..count);
    assert_eq!((rig.counter("traces_sent").await, rig.dropped().await), (count as u64, 0));
    rig.langfuse.assert_no_violations();
    assert_log_is_modest(&rig.envoy.log(), VMS);
}

/// Waits until so many traces were offered, all of which are kept: neither sent nor dropped.
async fn assert_kept(rig: &Rig, offered: u64) {
    rig.wait_for_counter("traces_offered", offered).await;
    assert_eq!((rig.counter("traces_sent").await, rig.dropped().await), (0, 0), "sent, dropped");
}

/// The filter wrote few lines for so many root contexts, and none with a key or content.
#[track_caller]
fn assert_log_is_modest(log: &str, roots: usize) {
    let lines = log.lines().filter(|line| line.contains("ai-tracing")).count();
    assert!(lines <= roots * LINES_MAX, "{lines} lines of {roots} roots:\n{log}");
    let basic = STANDARD.encode(format!("{PUBLIC_KEY}:{SECRET_KEY}"));
    for secret in [SECRET_KEY, PUBLIC_KEY, &basic, QUESTION] {
        assert!(!log.contains(secret), "a secret or content in the log:\n{log}");
    }
}

/// Waits until the log says this so many times.
async fn wait_for_lines(rig: &Rig, text: &str, count: usize) {
    let wait = async {
        while rig.envoy.log().matches(text).count() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(SOON, wait).await.is_ok();
    assert!(in_time, "{count} times {text:?} in the log:\n{}", rig.envoy.log());
}
