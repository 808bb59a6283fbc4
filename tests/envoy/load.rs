//! Ten thousand calls at saturation: every one is answered and every trace is accounted for.

use serde_json::json;
use testkit::client::{self, Request};
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter};
use testkit::langfuse::{StandIn, StandInOptions};
use testkit::upstream::BenchUpstream;

use crate::rig::{SOON, config, module};

const CALLS: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_at_saturation_lose_nothing() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let upstream = BenchUpstream::start().await;
    let filter = WasmFilter::new("ai-tracing", module(), &config(&langfuse, &json!({})));
    let options = EnvoyOptions::new(upstream.addr()).with_langfuse(Endpoint::from(langfuse.addr())).with_filter(filter);
    let envoy = Envoy::start(EnvoyOptions { concurrency: 2, ..options }).await;

    let call = |n: usize| {
        let body =
            json!({"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}], "stream": n.is_multiple_of(10)});
        Request::post_json("/v1/chat/completions", &body, &[])
    };
    let answers = client::burst(envoy.addr(), CALLS, 32, call).await;
    let failed: Vec<_> =
        answers.iter().filter(|answer| !answer.as_ref().is_ok_and(|a| a.status == 200 && a.complete)).collect();
    assert!(failed.is_empty(), "{} calls failed, such as {:?}", failed.len(), failed.first());

    let spans = langfuse.wait_for_spans(CALLS, SOON).await;
    langfuse.assert_no_violations();
    let unique: std::collections::HashSet<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    assert_eq!((spans.len(), unique.len(), langfuse.duplicates()), (CALLS, CALLS, 0));
    envoy.wait_for_stat("wasmcustom.ai_tracing_traces_sent", |sent| sent == CALLS as u64, SOON).await;
    assert_eq!(envoy.stat("wasmcustom.ai_tracing_traces_offered").await, CALLS as u64);
    let dropped = envoy.stats().await.into_iter().filter(|(name, _)| name.contains("traces_dropped"));
    let dropped: Vec<_> = dropped.collect();
    assert!(dropped.len() >= 5 && dropped.iter().all(|(_, count)| *count == 0), "nothing was dropped: {dropped:?}");
}
