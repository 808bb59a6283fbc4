//! One gateway with everything around it, for the tests of this folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter};
use testkit::langfuse::{Span, StandIn, StandInOptions};
use testkit::upstream::{REPLAY_HEADER, Script, Upstream};

/// How long a test waits for something that must happen.
pub const SOON: Duration = Duration::from_secs(20);
/// Keys of the stand-in's project; the secret one is forbidden in spans by the stand-in itself.
pub const PUBLIC_KEY: &str = "pk-lf-testkit";
/// See [`PUBLIC_KEY`].
pub const SECRET_KEY: &str = "sk-lf-testkit-secret";

/// The built module.
pub fn module() -> PathBuf {
    let path = testkit::repository_root().join("filters/ai-tracing.wasm");
    assert!(path.exists(), "{} is missing; run: make build", path.display());
    path
}

/// A configuration that traces to `langfuse`, with `more` keys.
pub fn config(langfuse: &StandIn, more: &Value) -> Value {
    let mut config = json!({
        "langfuse_enabled": true,
        "langfuse_public_key": PUBLIC_KEY,
        "langfuse_secret_key": SECRET_KEY,
        "langfuse_endpoint": langfuse.base_url(),
        "batch_max_age": 100,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// Client, gateway, upstream and Langfuse.
pub struct Rig {
    pub langfuse: StandIn,
    pub upstream: Upstream,
    pub envoy: Envoy,
    replays: AtomicUsize,
}

impl Rig {
    /// Starts all, the filter with the default test configuration and `more` keys.
    pub async fn start(more: Value) -> Self {
        Self::start_with(more, |_| {}).await
    }

    /// Starts all; `change` may change Envoy's options.
    pub async fn start_with(more: Value, change: impl FnOnce(&mut EnvoyOptions)) -> Self {
        let langfuse = StandIn::start(StandInOptions::default()).await;
        let upstream = Upstream::start().await;
        let filter = WasmFilter::new("ai-tracing", &module(), &config(&langfuse, &more));
        let mut options =
            EnvoyOptions::new(upstream.addr()).with_langfuse(Endpoint::from(langfuse.addr())).with_filter(filter);
        change(&mut options);
        let envoy = Envoy::start(options).await;
        Self { langfuse, upstream, envoy, replays: AtomicUsize::new(0) }
    }

    /// Has the upstream answer `request` with `script`; asserts that the request reached it unchanged and the answer
    /// the client.
    pub async fn replay(&self, request: Request, script: Script) -> Response {
        let id = format!("replay-{}", self.replays.fetch_add(1, Ordering::Relaxed));
        let (sent, answer) = (request.clone(), script.body());
        self.upstream.script(&id, script);
        let response = client::send(self.envoy.addr(), request.with_header(REPLAY_HEADER, id.as_bytes().to_vec())).await;
        let received = self.upstream.wait_for_received(&id, 1, SOON).await;
        let received = received.first().expect("one request");
        assert!(received.has_body(&sent.body), "{id}: the upstream got other bytes than the client sent");
        assert_eq!((&received.method, &received.path), (&sent.method, &sent.path));
        assert!(response.body == answer, "{id}: the client got other bytes than the upstream sent");
        response
    }

    /// The next `n` spans, with no rule broken; the stand-in starts anew.
    pub async fn take_spans(&self, n: usize) -> Vec<Span> {
        let spans = self.langfuse.wait_for_spans(n, SOON).await;
        self.langfuse.assert_no_violations();
        assert_eq!(spans.len(), n, "one span a call");
        self.langfuse.clear();
        spans
    }

    /// The one span of one call.
    pub async fn take_span(&self) -> Span {
        self.take_spans(1).await.remove(0)
    }

    /// A counter of the filter; 0 while it is not defined.
    pub async fn counter(&self, name: &str) -> u64 {
        self.envoy.stats().await.get(&format!("wasmcustom.ai_tracing_{name}")).copied().unwrap_or(0)
    }
}
