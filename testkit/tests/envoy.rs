//! A bare Envoy passes what is replayed, and can be asked, watched and ended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test equipment: a failed assumption must stop the run"
)]

use serde_json::Value;
use std::time::Duration;
use testkit::client::{Request, burst, send, upgrade};
use testkit::envoy::{Endpoint, Envoy, EnvoyBinary, EnvoyOptions, WasmFilter, validate};
use testkit::upstream::{Ending, Framing, Piece, REPLAY_HEADER, Script, Upstream, pieces_at_odd_places};

const SOON: Duration = Duration::from_secs(10);

/// Without Envoy there is nothing to test here; `make setup` installs it.
fn is_installed() -> bool {
    let found = EnvoyBinary::locate();
    if let Err(missing) = &found {
        testkit::say_skipped(missing);
    }
    found.is_ok()
}

fn replay(id: &str) -> Request {
    Request { method: "POST".into(), path: "/v1/chat/completions".into(), ..Request::default() }
        .with_header(REPLAY_HEADER, id)
}

#[tokio::test]
async fn a_bare_envoy_passes_a_replay_unchanged() {
    if !is_installed() {
        return;
    }
    let upstream = Upstream::start().await;
    let body = "data: {\"text\":\"größe 🙂\"}\r\n\r\n".repeat(50).into_bytes();
    let script = Script { status: 200, framing: Framing::Chunked, ..Script::default() };
    upstream.script("s", script.pieces(pieces_at_odd_places(&body, 3)));
    upstream.script("ws", Script::upgrade());
    let envoy = Envoy::start(EnvoyOptions { more_listeners: vec![vec![]], ..EnvoyOptions::new(upstream.addr()) }).await;
    let prompt = "prompt ".repeat(100_000).into_bytes();
    for addr in [envoy.addr(), envoy.listener(1)] {
        let answer =
            send(addr, Request { body: prompt.clone(), ..replay("s") }.with_header("x-raw", b"caf\xe9".to_vec())).await;
        assert_eq!((answer.status, answer.complete, &answer.body), (200, true, &body));
    }
    let received = upstream.wait_for_received("s", 2, SOON).await;
    assert!(received.iter().all(|request| request.has_body(&prompt)));
    assert!(received[0].headers.contains(&("x-raw".into(), b"caf\xe9".to_vec())));
    let request = Request::get("/").with_header(REPLAY_HEADER, "ws").with_header("connection", "upgrade");
    let (answer, echoed) = upgrade(envoy.addr(), request.with_header("upgrade", "websocket"), b"hello").await;
    assert_eq!((answer.status, echoed.as_slice()), (101, b"hello".as_slice()));
}

#[tokio::test]
async fn admin_stats_load_and_end() {
    if !is_installed() {
        return;
    }
    let upstream = Upstream::start().await;
    upstream.script("s", Script { status: 200, pieces: vec![Piece::from("ok")], ..Script::default() });
    upstream.script(
        "broken",
        Script {
            status: 200,
            pieces: vec![Piece::from("ok")],
            framing: Framing::Chunked,
            ending: Ending::Reset,
            ..Script::default()
        },
    );
    let mut envoy = Envoy::start(EnvoyOptions { concurrency: 2, ..EnvoyOptions::new(upstream.addr()) }).await;
    let answers = burst(envoy.addr(), 200, 8, |_| replay("s")).await;
    assert!(
        answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.body == b"ok"))
    );
    envoy.wait_for_stat("http.listener_0.downstream_rq_2xx", |count| count == 200, SOON).await;
    let broken = send(envoy.addr(), replay("broken")).await;
    assert_eq!((broken.status, broken.complete), (200, false));
    assert!(envoy.memory_bytes() > 1 << 20 && envoy.cpu_ticks() > 0 && envoy.is_running());
    assert!(envoy.admin("/server_info").await.contains("\"state\": \"LIVE\""));
    let pid = envoy.pid();
    envoy.terminate().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "Envoy is gone");
}

#[tokio::test]
async fn bad_configurations_are_reported() {
    if !is_installed() {
        return;
    }
    let upstream = Upstream::start().await;
    let missing = WasmFilter::new("ai-tracing", "/nowhere/ai-tracing.wasm", &Value::Null);
    let log = Envoy::try_start(EnvoyOptions::new(upstream.addr()).with_filter(missing)).await.unwrap_err();
    assert!(log.contains("/nowhere/ai-tracing.wasm"), "{log}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, testkit::envoy::bootstrap(&EnvoyOptions::new(upstream.addr())).to_string()).unwrap();
    assert!(validate(&file).is_ok());
    let tls = Endpoint::parse("https://cloud.langfuse.com").unwrap();
    let options = EnvoyOptions::new(tls.clone()).with_langfuse(tls);
    std::fs::write(&file, testkit::envoy::bootstrap(&options).to_string()).unwrap();
    assert_eq!(validate(&file).map(|_| ()), Ok(()), "the bootstrap for real services");
    std::fs::write(&file, "{\"no_such_key\": 1}").unwrap();
    assert!(validate(&file).unwrap_err().contains("no_such_key"));
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    if !is_installed() {
        return;
    }
    let upstream = Upstream::start().await;
    let large = b"0123456789abcdef".repeat(50 * 65_536);
    upstream.script("s", Script { status: 200, pieces: vec![Piece::from(large.clone())], ..Script::default() });
    let envoy = Envoy::start(EnvoyOptions::new(upstream.addr())).await;
    let answer = send(envoy.addr(), Request { body: large.clone(), ..replay("s") }).await;
    assert!(answer.complete && answer.body == large);
    assert!(upstream.received("s")[0].has_body(&large));
}

#[test]
fn endpoints_of_urls() {
    let endpoint = |url: &str| Endpoint::parse(url).map(|endpoint| (endpoint.authority(), endpoint.tls));
    assert_eq!(endpoint("https://cloud.langfuse.com"), Ok(("cloud.langfuse.com:443".into(), true)));
    assert_eq!(endpoint("http://127.0.0.1:3000/api"), Ok(("127.0.0.1:3000".into(), false)));
    assert!(["cloud.langfuse.com", "ftp://x", "https://", "http://x:port"].iter().all(|url| endpoint(url).is_err()));
}
