//! One gateway with everything around it, for the tests of this folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter};
use testkit::langfuse::{Span, StandIn, StandInOptions};
use testkit::upstream::{REPLAY_HEADER, Received, Script, Upstream};

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
        Self::start_against(StandInOptions::default(), more, change).await
    }

    /// Starts all around a Langfuse of this kind (other keys, another generation).
    pub async fn start_against(langfuse: StandInOptions, more: Value, change: impl FnOnce(&mut EnvoyOptions)) -> Self {
        let langfuse = StandIn::start(langfuse).await;
        let upstream = Upstream::start().await;
        let filter = WasmFilter::new("ai-tracing", module(), &config(&langfuse, &more));
        let mut options =
            EnvoyOptions::new(upstream.addr()).with_langfuse(Endpoint::from(langfuse.addr())).with_filter(filter);
        change(&mut options);
        let envoy = Envoy::start(options).await;
        Self { langfuse, upstream, envoy, replays: AtomicUsize::new(0) }
    }

    /// Has the upstream answer `request` with `script`; asserts that the request reached it unchanged and the answer
    /// the client.
    pub async fn replay(&self, request: Request, script: Script) -> Response {
        let answer = script.body();
        let (id, request) = self.scripted(request, script);
        let response = client::send(self.envoy.addr(), request.clone()).await;
        self.assert_passed(&id, &request).await;
        assert!(response.body == answer, "{id}: the client got other bytes than the upstream sent");
        response
    }

    /// Sets the upstream's answer to `request`: the script's id, and the request that asks for it.
    pub fn scripted(&self, request: Request, script: Script) -> (String, Request) {
        let id = format!("replay-{}", self.replays.fetch_add(1, Ordering::Relaxed));
        self.upstream.script(&id, script);
        let request = request.with_header(REPLAY_HEADER, id.as_bytes().to_vec());
        (id, request)
    }

    /// Waits until the upstream has the request of the script `id`; asserts that it arrived as it was sent.
    pub async fn assert_passed(&self, id: &str, sent: &Request) -> Received {
        let received = self.upstream.wait_for_received(id, 1, SOON).await.remove(0);
        assert!(received.has_body(&sent.body), "{id}: the upstream got other bytes than the client sent");
        assert_eq!((&received.method, &received.path), (&sent.method, &sent.path));
        received
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
        self.envoy.stat(&stat(name)).await
    }

    /// Waits until a counter of the filter has this value (they are published with the tick).
    pub async fn wait_for_counter(&self, name: &str, value: u64) {
        self.envoy.wait_for_stat(&stat(name), |now| now >= value, SOON).await;
        assert_eq!(self.counter(name).await, value, "{name}");
    }

    /// Sum of the traces that were dropped, whatever the reason.
    pub async fn dropped(&self) -> u64 {
        let stats = self.envoy.stats().await;
        stats.iter().filter(|(name, _)| name.starts_with(&stat("traces_dropped"))).map(|(_, value)| value).sum()
    }

    /// Waits until every trace offered is accounted for, and that these are `offered`.
    pub async fn wait_until_settled(&self, offered: u64) {
        self.wait_for_counter("traces_offered", offered).await;
        let settled = async {
            while self.counter("traces_sent").await + self.dropped().await < offered {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(SOON, settled).await.is_ok();
        let (sent, dropped) = (self.counter("traces_sent").await, self.dropped().await);
        assert!(in_time && sent + dropped == offered, "offered {offered} = sent {sent} + dropped {dropped}");
    }
}

fn stat(name: &str) -> String {
    format!("wasmcustom.ai_tracing_{name}")
}

/// What a span says, by a short name: `meta:key`, `attr:key`, or one of the arms; null where it says nothing.
pub fn reading(span: &Span, name: &str) -> Value {
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| json!(text));
    match name.split_once(':') {
        Some(("meta", key)) => return span.metadata(key).unwrap_or_default(),
        Some(("attr", key)) => return span.attributes.get(key).cloned().unwrap_or_default(),
        _ => {}
    }
    match name {
        "name" => json!(span.name),
        "trace" => text(span.text("langfuse.trace.name")),
        "level" => json!(span.level()),
        "message" => text(span.message()),
        "model" => text(span.model()),
        "input" => span.input(),
        "output" => span.output(),
        "text" => span.output()["content"].clone(),
        "usage" => span.json("langfuse.observation.usage_details").unwrap_or_default(),
        "cost" => span.json("langfuse.observation.cost_details").unwrap_or_default(),
        "parameters" => span.json("langfuse.observation.model.parameters").unwrap_or_default(),
        "user" => text(span.user()),
        "session" => text(span.session()),
        "tags" => json!(span.tags()),
        "environment" => text(span.text("langfuse.environment")),
        "release" => text(span.text("langfuse.release")),
        "version" => text(span.text("langfuse.version")),
        other => panic!("no reading {other:?}"),
    }
}

/// Every reading of `span` that is not as wanted, as lines that begin with `what`.
pub fn unwanted(what: &str, span: &Span, wanted: &[(&str, Value)]) -> Vec<String> {
    let shorten = |value: Value| value.to_string().chars().take(300).collect::<String>();
    let found = wanted.iter().map(|(name, wanted)| (name, reading(span, name), wanted));
    found
        .filter(|(_, found, wanted)| found != *wanted)
        .map(|(name, found, wanted)| format!("{what}: {name} is {}, not {}", shorten(found), shorten(wanted.clone())))
        .collect()
}
