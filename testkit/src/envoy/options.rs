//! What Envoy runs with.

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to start Envoy.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// Where every call goes.
    pub upstream: Endpoint,
    /// Further clusters by name: those that filters call. On Envoy a callout's target is a cluster's name, so a
    /// Langfuse cluster is called `host:port`; see [`EnvoyOptions::with_langfuse`].
    pub clusters: Vec<(String, Endpoint)>,
    /// The Wasm filters before the router; none makes a bare Envoy.
    pub filters: Vec<WasmFilter>,
    /// One more listener for each list of filters.
    pub more_listeners: Vec<Vec<WasmFilter>>,
    /// Worker threads.
    pub concurrency: u32,
    /// `trace` … `error`, for everything but `component_log_level`.
    pub log_level: String,
    /// Such as `wasm:info`.
    pub component_log_level: String,
    /// Environment variables of the process.
    pub environment: BTreeMap<String, String>,
    /// `stats_config.stats_tags` of the bootstrap.
    pub stats_tags: Vec<Value>,
    /// The first listener comes from a file that Envoy watches, so that its filters can be replaced while it runs
    /// ([`super::Envoy::replace_filters`]).
    pub replaceable: bool,
    /// Last change to the bootstrap, for what no option covers.
    pub customise: Option<fn(&mut Value)>,
}

impl EnvoyOptions {
    /// A bare Envoy before this upstream: one worker, no filters.
    pub fn new(upstream: impl Into<Endpoint>) -> Self {
        Self {
            upstream: upstream.into(),
            clusters: Vec::new(),
            filters: Vec::new(),
            more_listeners: Vec::new(),
            concurrency: 1,
            log_level: "warning".into(),
            component_log_level: "wasm:info".into(),
            environment: BTreeMap::new(),
            stats_tags: Vec::new(),
            replaceable: false,
            customise: None,
        }
    }

    /// Adds a cluster for Langfuse, named `host:port` as the filter names it by default.
    pub fn with_langfuse(mut self, endpoint: impl Into<Endpoint>) -> Self {
        let endpoint = endpoint.into();
        self.clusters.push((endpoint.authority(), endpoint));
        self
    }

    /// Adds a filter to the first listener.
    pub fn with_filter(mut self, filter: WasmFilter) -> Self {
        self.filters.push(filter);
        self
    }
}

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS with server name and verification against the system's certificates.
    pub tls: bool,
}

impl Endpoint {
    /// Reads `http://host[:port][/…]` or `https://…`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url}: no scheme"))?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(format!("{url}: neither http nor https")),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| format!("{url}: port {port:?}"))?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err(format!("{url}: no host"));
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().to_string(), port: addr.port(), tls: false }
    }
}

/// One Wasm HTTP filter.
#[derive(Clone, Debug)]
pub struct WasmFilter {
    /// Name of the filter in the chain and in logs.
    pub name: String,
    /// Chooses the root context within a VM.
    pub root_id: String,
    /// Filters with equal code and VM id share a VM.
    pub vm_id: String,
    /// The module.
    pub path: PathBuf,
    /// The plugin configuration, passed as a StringValue; none at all when empty.
    pub config: String,
    /// Environment of the VM (`environment_variables.key_values`).
    pub environment: BTreeMap<String, String>,
    /// A dead VM lets calls pass.
    pub fail_open: bool,
}

impl WasmFilter {
    /// A filter with a JSON configuration.
    pub fn new(name: &str, path: impl Into<PathBuf>, config: &Value) -> Self {
        Self {
            name: name.into(),
            root_id: String::new(),
            vm_id: String::new(),
            path: path.into(),
            config: if config.is_null() { String::new() } else { config.to_string() },
            environment: BTreeMap::new(),
            fail_open: true,
        }
    }
}
