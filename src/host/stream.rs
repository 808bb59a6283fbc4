//! One HTTP exchange: the host's callbacks become what [`Call`] takes. Nothing is paused or changed.

use std::rc::Rc;

use super::abi::{BufferType, MapType};
use super::hostcalls::{self, parse_pairs};
use super::log;
use super::root::Root;
use super::vm::{HostKind, Vm};
use crate::call::{Beginning, Call, End, Piece, Unread, find_route};
use crate::config::LogLevel;

/// See the module's documentation.
pub(super) struct Stream {
    id: u32,
    root: Rc<Root>,
    call: Option<Box<Call>>,
    /// Largest piece that may be read: WasmX copies a piece whole.
    max_read: usize,
}

impl Stream {
    pub(super) fn new(id: u32, root: Rc<Root>) -> Self {
        Self { id, root, call: None, max_read: usize::MAX }
    }

    /// Two headers decide whether the call is traced; the others are read only then.
    pub(super) fn request_headers(&mut self, vm: &Vm) {
        vm.detect_host_in_stream();
        let Some((settings, counters)) = self.root.settings() else { return };
        let read = |name| hostcalls::header(MapType::RequestHeaders, name).unwrap_or_default();
        let (method, path) = (read(":method"), read(":path"));
        let Ok(route) = find_route(&method, &path, &settings, &counters) else { return };
        if vm.host() != HostKind::Envoy {
            self.max_read = settings.capture.read;
        }
        let pairs = hostcalls::header_pairs(MapType::RequestHeaders);
        let headers = parse_pairs(&pairs);
        let at =
            Beginning { method: &method, path: &path, headers: &headers, now: hostcalls::now(), context_id: self.id };
        self.call = Some(Box::new(Call::begin(&settings, &counters, &vm.shared, route, &at)));
    }

    pub(super) fn request_body(&mut self, size: usize) {
        let Some(call) = self.call.as_mut().filter(|_| size > 0) else { return };
        let wanted = call.wants_request();
        read(BufferType::RequestBody, size, self.max_read, wanted, |piece| call.request_piece(piece));
    }

    pub(super) fn response_headers(&mut self, end_of_stream: bool) {
        let Some(call) = self.call.as_mut() else { return };
        let pairs = hostcalls::header_pairs(MapType::ResponseHeaders);
        call.response_headers(&parse_pairs(&pairs));
        if end_of_stream {
            call.response_ended();
        }
    }

    /// `end_of_stream` is a hint that WasmX often does not give, and never gives wrongly.
    pub(super) fn response_body(&mut self, size: usize, end_of_stream: bool) {
        let Some(call) = self.call.as_mut() else { return };
        if size > 0 {
            let wanted = call.wants_response();
            let take = |piece: Piece<'_>| call.response_piece(piece, &hostcalls::now);
            read(BufferType::ResponseBody, size, self.max_read, wanted, take);
        }
        if end_of_stream {
            call.response_ended();
        }
    }

    /// The exchange is over: on both hosts this is the one callback that always comes.
    pub(super) fn log(&mut self, vm: &Vm) {
        let Some(call) = self.call.take() else { return };
        let details = if vm.host() == HostKind::Envoy && call.wants_details() {
            hostcalls::property(&["response", "code_details"]).ok()
        } else {
            None
        };
        let now = hostcalls::now();
        let details = details.as_deref().map(String::from_utf8_lossy);
        if let Some(span) = call.finish(&End { now, details: details.as_deref() }) {
            if let Some((settings, _)) = self.root.settings() {
                let size = span.len();
                let line = || format!("ai-tracing: call of context {} traced, {size} bytes queued", self.id);
                log::line(settings.log_level, LogLevel::Debug, line);
            }
            self.root.offer(span, now);
        }
    }
}

fn read(kind: BufferType, size: usize, max_read: usize, wanted: bool, mut take: impl FnMut(Piece<'_>)) {
    if !wanted {
        return take(Piece::Unread(size, Unread::BeyondScan));
    }
    if size > max_read {
        return take(Piece::Unread(size, Unread::TooLarge));
    }
    match hostcalls::buffer(kind, size) {
        Some(bytes) => take(Piece::Bytes(&bytes)),
        None => take(Piece::Unread(size, Unread::NotAvailable)),
    }
}
