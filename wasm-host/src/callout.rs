//! HTTP calls of the filter: what a host takes, and how they are answered.

use crate::headers::{Headers, find};
use crate::state::Owner;

/// A call that is under way.
#[derive(Clone, Debug)]
pub struct Callout {
    /// The host's number for it, unique in a worker.
    pub token: u32,
    /// The root that made it, or whose stream did.
    pub root: usize,
    /// Cluster (Envoy) or address (WasmX).
    pub upstream: String,
    /// All headers, pseudo headers included.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// As the filter asked for it.
    pub timeout_ms: u32,
    /// When it was made, on the simulated clock.
    pub since_ns: u64,
    /// When the host gives it up; none = never.
    pub(crate) deadline_ns: Option<u64>,
    pub(crate) owner: Owner,
    /// The incarnation of the root in whose name it was made.
    pub(crate) of: usize,
    /// The store of its instance has been destroyed while it was under way.
    pub(crate) orphaned: bool,
}

impl Callout {
    /// A header of it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        find(&self.headers, name)
    }
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused, or the name not found.
    Refused,
    /// The connection broke.
    Broken,
    /// Nothing came in time. (A call that the test does not answer times out by itself.)
    Timeout,
}

/// How a call is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The server answers.
    Response {
        /// Of `:status`; none leaves it out. Text, because servers and proxies send nonsense.
        status: Option<String>,
        /// Other headers.
        headers: Headers,
        /// Body.
        body: Vec<u8>,
    },
    /// There is no answer: each host says that in its own way, or not at all (Kong up to 3.8).
    Failed(Failure),
    /// The call stays under way for good: no timeout of the host ever ends it.
    Hangs,
}

impl Answer {
    /// An answer of that status, without a body.
    #[must_use]
    pub fn status(status: impl ToString) -> Self {
        Self::Response { status: Some(status.to_string()), headers: Vec::new(), body: Vec::new() }
    }

    /// An answer with headers but without a status.
    #[must_use]
    pub fn without_status() -> Self {
        Self::Response { status: None, headers: vec![("server".to_owned(), b"odd".to_vec())], body: Vec::new() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Response { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        if let Self::Response { body, .. } = &mut self {
            *body = bytes.into();
        }
        self
    }
}

/// What the filter can read of an answer while it is told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub headers: Headers,
    pub body: Vec<u8>,
    pub dispatch_status: Option<&'static str>,
}

/// What Envoy makes of a failure: an answer of its own.
pub(crate) fn envoy_reading(failure: Failure) -> Reading {
    let (status, body): (_, &[u8]) = match failure {
        Failure::Timeout => ("504", b"upstream request timeout"),
        Failure::Refused => (
            "503",
            b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
        ),
        Failure::Broken => {
            ("503", b"upstream connect error or disconnect/reset before headers. reset reason: connection termination")
        }
    };
    let headers = vec![
        (":status".to_owned(), status.as_bytes().to_vec()),
        ("content-length".to_owned(), body.len().to_string().into_bytes()),
        ("content-type".to_owned(), b"text/plain".to_vec()),
    ];
    Reading { headers, body: body.to_vec(), dispatch_status: None }
}

/// What Kong 3.9 lets the filter read of a failure.
pub(crate) fn wasmx_reading(failure: Failure) -> Reading {
    let dispatch_status = Some(match failure {
        Failure::Timeout => "timeout",
        Failure::Refused => "resolver failure",
        Failure::Broken => "broken connection",
    });
    Reading { dispatch_status, ..Reading::default() }
}

/// WasmX takes `host`, `host:port`, `[v6]`, `[v6]:port` and `unix:/path` (hosts.md, section 4).
pub(crate) fn is_wasmx_address(upstream: &str) -> bool {
    if let Some(path) = upstream.strip_prefix("unix:") {
        return path.starts_with('/');
    }
    let (host, port) = match upstream.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').unwrap_or("none"))),
            None => return false,
        },
        None => upstream.split_once(':').map_or((upstream, None), |(host, port)| (host, Some(port))),
    };
    let port_is_valid = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    !host.is_empty() && !host.contains(['/', ' ', '?', '#', '@']) && port_is_valid
}
