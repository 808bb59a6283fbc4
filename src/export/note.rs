//! What an operator may want to know of the export; the host words it and limits how often.

use super::Api;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// First success, or the first after failures.
    Connected(Api),
    /// Langfuse refuses the keys.
    WrongKeys(u16),
    /// There is no such API at the address.
    WrongAddress(u16),
    /// The server has no OTLP: the legacy ingestion API is used from now on.
    UsingIngestion,
    /// The server takes traces by OTLP (only, or again): it is used from now on.
    UsingOtlp,
    /// `protocol` allows the ingestion API only, and this server does not take traces by it.
    IngestionRefused,
    /// Nobody answers.
    NoAnswer,
    /// Langfuse answers that it cannot now.
    Unwell(u16),
    /// The host cannot make the call at all: there is no such cluster, or the address is not valid.
    NoUpstream,
    /// The host cannot make a TLS connection to an address.
    TlsToAddress,
    /// The host could not make the call now: no healthy host in the cluster.
    CannotCall,
    /// Traces were refused for good.
    Refused(u16),
}

/// Why the host did not make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCalled {
    /// There is no such cluster, or the address is not valid.
    NoUpstream,
    /// The URL is https and its host an address, for which WasmX cannot make the call.
    TlsToAddress,
    /// Not now.
    NotNow,
}
