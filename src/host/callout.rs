//! Export calls: made from the tick alone, one at a time, because on WasmX anything else leaks connections or crashes the
//! worker.

use std::cell::Cell;

use super::abi::{self, BufferType, MapType};
use super::hostcalls;
use super::vm::{HostKind, Vm};
use crate::config::{Target, is_address};
use crate::export::{self, Api, BODY_MAX, NotCalled, Outgoing, Reply};

/// Refused calls after which WasmX is not asked any more.
const REFUSED_MAX: u32 = 5;

/// Makes the calls of one configuration.
#[derive(Debug)]
pub(super) struct Caller {
    /// Calls that the host has refused since it made one, by lane.
    refused: Vec<Cell<u32>>,
}

impl Caller {
    pub(super) fn new(lanes: usize) -> Self {
        Self { refused: vec![Cell::new(0); lanes] }
    }

    /// Why `target` is not to be called at all. WasmX loses a connection with every call that it refuses: addresses that
    /// are none are not tried, and after some refusals nothing is until the next configuration.
    pub(super) fn refusal(&self, vm: &Vm, lane: usize, target: &Target) -> Option<NotCalled> {
        let refused = self.refused.get(lane).map_or(REFUSED_MAX, Cell::get);
        if vm.host() == HostKind::Envoy {
            None
        } else if target.endpoint.is_tls_to_address() {
            Some(NotCalled::TlsToAddress)
        } else {
            (!is_address(&target.upstream) || refused >= REFUSED_MAX).then_some(NotCalled::NoUpstream)
        }
    }

    /// Makes the call `outgoing` to `target`; its token.
    pub(super) fn call(&self, target: &Target, outgoing: &Outgoing) -> Result<u32, NotCalled> {
        let path = match outgoing.api {
            Api::Otlp => target.endpoint.otlp_path(),
            Api::Ingestion => target.endpoint.ingestion_path(),
        };
        let headers = export::headers(target, outgoing.api, &path);
        let made = hostcalls::http_call(&target.upstream, &headers, &outgoing.body, target.timeout_ms);
        if let Some(refused) = self.refused.get(outgoing.lane) {
            refused.set(if made.is_ok() { 0 } else { refused.get().saturating_add(1) });
        }
        made.map_err(|status| if status == abi::BAD_ARGUMENT { NotCalled::NoUpstream } else { NotCalled::NotNow })
    }
}

/// An answer, as the host hands it over.
#[derive(Debug, Default)]
pub(super) struct Answer {
    status: Option<u16>,
    retry_after: Option<Vec<u8>>,
    body: Vec<u8>,
    host_answers: bool,
}

impl Answer {
    /// Reads the answer of which the host says that it has so many headers and body bytes. WasmX tells by no headers
    /// that there was none.
    pub(super) fn read(vm: &Vm, headers: u32, body_size: usize) -> Self {
        if headers == 0 {
            return Self::default();
        }
        let header = |name| hostcalls::header(MapType::CallResponseHeaders, name);
        let status = header(":status").and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        let body =
            (1..=BODY_MAX).contains(&body_size).then(|| hostcalls::buffer(BufferType::CallResponseBody, body_size));
        Self {
            status,
            retry_after: if status.is_some_and(|status| status >= 400) { header("retry-after") } else { None },
            body: body.flatten().unwrap_or_default(),
            // While the host is not known, an answer in Envoy's words is Envoy's.
            host_answers: vm.host() != HostKind::WasmX,
        }
    }

    /// The same, borrowed.
    pub(super) fn as_reply(&self) -> Reply<'_> {
        Reply {
            status: self.status,
            retry_after: self.retry_after.as_deref(),
            body: &self.body,
            host_answers: self.host_answers,
        }
    }
}
