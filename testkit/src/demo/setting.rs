//! What the demo runs against: local equipment, or the real services named in the environment.

use super::answers;
use crate::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter};
use crate::langfuse::{StandIn, StandInOptions};
use crate::upstream::Upstream;
use serde_json::json;
use std::path::PathBuf;

/// Locally each call carries this key, which no trace may contain.
const LOCAL_API_KEY: &str = "sk-demo-key-of-the-client";
const REAL: [&str; 4] = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGFUSE_BASE_URL", "UPSTREAM"];

/// A running gateway and what is around it; all of it ends when dropped.
pub(super) struct Setting {
    pub(super) envoy: Envoy,
    /// `None` when the real Langfuse is used.
    pub(super) langfuse: Option<StandIn>,
    _upstream: Option<Upstream>,
    pub(super) model: String,
    pub(super) api_key: Option<String>,
    description: String,
}

impl Setting {
    pub(super) async fn prepare() -> Result<Self, String> {
        let module = module()?;
        match REAL.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())) {
            [Some(public), Some(secret), Some(base_url), Some(upstream)] => {
                Self::real(module, &public, &secret, &base_url, &upstream).await
            }
            _ => Self::local(module).await,
        }
    }

    async fn local(module: PathBuf) -> Result<Self, String> {
        let options = StandInOptions::default();
        let (public, secret) = (options.public_key.clone(), options.secret_key.clone());
        let langfuse = StandIn::start(options).await;
        langfuse.forbid(LOCAL_API_KEY);
        let upstream = Upstream::start().await;
        upstream.fallback(answers::answer);
        let filter = filter(module, &public, &secret, &langfuse.base_url());
        let options = EnvoyOptions::new(upstream.addr()).with_langfuse(langfuse.addr()).with_filter(filter);
        Ok(Self {
            description: format!(
                "Envoy before a scripted model, traces to a stand-in of Langfuse. Real ones: {}",
                REAL.join(", ")
            ),
            envoy: start(options).await?,
            langfuse: Some(langfuse),
            _upstream: Some(upstream),
            model: "gpt-4".into(),
            api_key: Some(LOCAL_API_KEY.into()),
        })
    }

    async fn real(module: PathBuf, public: &str, secret: &str, base_url: &str, upstream: &str) -> Result<Self, String> {
        let langfuse = Endpoint::parse(base_url)?;
        let filter = filter(module, public, secret, base_url);
        let options = EnvoyOptions::new(Endpoint::parse(upstream)?).with_langfuse(langfuse).with_filter(filter);
        Ok(Self {
            description: format!("Envoy before {upstream}, traces to {base_url}"),
            envoy: start(options).await?,
            langfuse: None,
            _upstream: None,
            model: std::env::var("MODEL").unwrap_or_else(|_| "gpt-4o-mini".into()),
            api_key: std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty()),
        })
    }

    pub(super) fn is_local(&self) -> bool {
        self.langfuse.is_some()
    }

    pub(super) fn description(&self) -> &str {
        &self.description
    }
}

/// `$AI_TRACING_WASM`, else the one that `make build` makes.
fn module() -> Result<PathBuf, String> {
    let named = std::env::var_os("AI_TRACING_WASM").map(PathBuf::from);
    let path = named.unwrap_or_else(|| crate::repository_root().join("filters/ai-tracing.wasm"));
    if path.is_file() { Ok(path) } else { Err(format!("{} is not built; run: make build", path.display())) }
}

fn filter(module: PathBuf, public: &str, secret: &str, endpoint: &str) -> WasmFilter {
    let config = json!({"langfuse_enabled": true, "langfuse_public_key": public, "langfuse_secret_key": secret,
        "langfuse_endpoint": endpoint, "batch_max_age": "300"});
    WasmFilter::new("ai-tracing", module, &config)
}

async fn start(options: EnvoyOptions) -> Result<Envoy, String> {
    Envoy::try_start(options).await.map_err(|log| format!("Envoy did not start:\n{log}"))
}
