//! Calls that are none of an AI, or not to be traced: they pass, and each is counted with its reason.

use serde_json::json;
use testkit::client::{self, Request};
use testkit::upstream::Script;

use crate::calls::{CHAT, answer, question};
use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_traced_pass_and_are_counted() {
    let rig = Rig::start(json!({})).await;
    let with = |method: &str, path: &str| Request { method: method.into(), path: path.into(), ..Request::default() };
    for method in ["GET", "OPTIONS", "DELETE"] {
        assert_eq!(rig.replay(with(method, CHAT), answer()).await.status, 200);
    }
    let (id, head) = rig.scripted(with("HEAD", CHAT), answer());
    let response = client::send(rig.envoy.addr(), head.clone()).await;
    rig.assert_passed(&id, &head).await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    rig.wait_for_counter("calls_skipped_reason=method", 4).await;

    for path in ["/", "/v1/chat/completions-log", "/x?y=/v1/chat/completions", "/v1/chat/completions%20"] {
        rig.replay(Request { path: path.into(), ..question() }, answer()).await;
    }
    rig.wait_for_counter("calls_skipped_reason=not_ai", 4).await;
    for path in ["/v1/models", "/health/v1/chat/completions"] {
        rig.replay(Request { path: path.into(), ..question() }, answer()).await;
    }
    rig.wait_for_counter("calls_skipped_reason=ignored_path", 2).await;

    let upgrade =
        |method: &str| with(method, CHAT).with_header("connection", "Upgrade").with_header("upgrade", "websocket");
    for method in ["GET", "POST"] {
        let (_, request) = rig.scripted(upgrade(method), Script::upgrade());
        let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let (response, echoed) = client::upgrade(rig.envoy.addr(), request, &payload).await;
        assert!(response.status == 101 && echoed == payload, "{method}: {}", response.status);
    }
    rig.wait_for_counter("calls_skipped_reason=upgrade", 2).await;
    rig.wait_for_counter("calls_skipped_reason=method", 4).await;
    assert_eq!((rig.counter("traces_offered").await, rig.langfuse.spans().len()), (0, 0));
}
