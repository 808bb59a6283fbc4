//! Connections: calls that share one are kept apart, and what a stream has said is passed on before it says more.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::{self, Exchange, Response};
use testkit::upstream::{Ending, Script};

use crate::calls::{chat, delta, events, question, saying};
use crate::rig::{Rig, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_one_connection() {
    let rig = Rig::start(json!({})).await;
    rig.upstream.fallback(|request| {
        let asked: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
        let text = asked["messages"][0]["content"].as_str()?.to_owned();
        Some(match asked["stream"] == json!(true) {
            true => {
                Script::sse(&[delta(&text, &Value::Null), delta("", &json!("stop")), "[DONE]".into()], Duration::ZERO)
            }
            false => Script::json(200, &saying(&text, "stop")),
        })
    });
    let make = |n: usize| {
        chat(
            &json!({"model": "gpt-4o", "stream": n.is_multiple_of(2), "messages": [{"role": "user", "content": format!("question {n}")}]}),
        )
    };
    let results = client::burst(rig.envoy.addr(), 50, 1, make).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|answer: &Response| answer.status == 200)));
    assert_eq!(rig.envoy.stat("http.listener_0.downstream_cx_total").await, 1, "one connection");
    let spans = rig.take_spans(50).await;
    let mut ids: Vec<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    for span in &spans {
        assert_eq!(span.input()[0]["content"], span.output()["content"], "question and answer belong together");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_held_up() {
    let rig = Rig::start(json!({})).await;
    let (_, request) = rig.scripted(question(), Script::sse(&events()[..1], Duration::ZERO).ending(Ending::Hang));
    let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
    // The upstream says no more: what it has said must have come through.
    assert!(tokio::time::timeout(SOON, exchange.read_at_least(20)).await.expect("in time").expect("a body"));
}
