//! Which host to be, and how that host is configured.

/// A host with its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Personality {
    /// Envoy 1.40 (hosts.md, section 10).
    Envoy(Envoy),
    /// ngx_wasm_module, in Kong or in plain nginx (hosts.md, sections 2 to 8 and 12).
    WasmX(WasmX),
}

/// Envoy's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envoy {
    /// Clusters that exist; none = a call may name any.
    pub clusters: Option<Vec<String>>,
    /// Clusters that have no healthy host.
    pub unhealthy: Vec<String>,
    /// `failure_policy: FAIL_CLOSED`: after a trap, requests get a 503 instead of passing untraced.
    pub fail_closed: bool,
}

/// The gateway around WasmX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmX {
    /// Kong's version; none = plain nginx with the module of Kong 3.9.
    pub kong: Option<Kong>,
    /// `proxy_wasm_isolation`.
    pub isolation: Isolation,
    /// `client_body_buffer_size`: a request body more than a quarter above it goes to a file.
    pub client_body_buffer_size: usize,
    /// Size of one nginx buffer of a response.
    pub response_buffer: usize,
    /// Buffers of a response that come in one callback at the most.
    pub response_chain: usize,
    /// `worker_connections`: when as many have leaked, requests get a 500.
    pub worker_connections: usize,
    /// The filter's name, which is part of its metrics' names.
    pub filter_name: String,
}

/// Kong's versions that ship WasmX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its number")]
pub enum Kong {
    V3_4,
    V3_5,
    V3_6,
    V3_7,
    V3_8,
    V3_9,
}

impl Kong {
    /// All versions.
    pub const ALL: [Self; 6] = [Self::V3_4, Self::V3_5, Self::V3_6, Self::V3_7, Self::V3_8, Self::V3_9];

    /// As `kong.version` has it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V3_4 => "3.4.2",
            Self::V3_5 => "3.5.0",
            Self::V3_6 => "3.6.1",
            Self::V3_7 => "3.7.1",
            Self::V3_8 => "3.8.1",
            Self::V3_9 => "3.9.1",
        }
    }
}

/// What shares an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All requests and all roots of the module.
    #[default]
    None,
    /// Each request has its own.
    Stream,
    /// Each request and filter has its own; with one module this is the same as `Stream`.
    Filter,
}

impl Default for WasmX {
    fn default() -> Self {
        Self {
            kong: Some(Kong::V3_9),
            isolation: Isolation::None,
            client_body_buffer_size: 8 << 20,
            response_buffer: 4096,
            response_chain: 2,
            worker_connections: 1024,
            filter_name: "ai-tracing".to_owned(),
        }
    }
}

impl WasmX {
    /// The module's version, as the Kong that ships it.
    pub(crate) fn version(&self) -> Kong {
        self.kong.unwrap_or(Kong::V3_9)
    }

    /// A request body of so many bytes goes to a file (nginx allows a quarter more than configured).
    pub(crate) fn spools(&self, length: usize) -> bool {
        length > self.client_body_buffer_size + self.client_body_buffer_size / 4
    }
}

impl Personality {
    /// Envoy with any cluster.
    #[must_use]
    pub fn envoy() -> Self {
        Self::Envoy(Envoy::default())
    }

    /// Kong of that version, with large body buffers as the filter's guide asks for.
    #[must_use]
    pub fn kong(version: Kong) -> Self {
        Self::WasmX(WasmX { kong: Some(version), ..WasmX::default() })
    }

    /// Plain nginx with ngx_wasm_module.
    #[must_use]
    pub fn nginx() -> Self {
        Self::WasmX(WasmX { kong: None, ..WasmX::default() })
    }

    /// The WasmX in this personality.
    #[must_use]
    pub fn wasmx(&self) -> Option<&WasmX> {
        match self {
            Self::WasmX(wasmx) => Some(wasmx),
            Self::Envoy(_) => None,
        }
    }

    /// Short name, for messages of tests.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Envoy(_) => "Envoy".to_owned(),
            Self::WasmX(WasmX { kong: Some(kong), .. }) => format!("Kong {}", kong.number()),
            Self::WasmX(_) => "nginx".to_owned(),
        }
    }
}
