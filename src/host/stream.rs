//! One HTTP exchange: the host's callbacks become what [`Call`] takes. Nothing is paused or changed.

use std::rc::Rc;

use super::abi::{BufferType, MapType};
use super::gateway::{Gateway, RequestIds};
use super::hostcalls::{self, parse_pairs};
use super::log;
use super::root::Root;
use super::vm::{HostKind, Vm};
use crate::call::{Beginning, Call, End, GatewayFact, Piece, Properties, Unread, find_route};
use crate::config::{Activation, LogLevel, Settings};
use crate::context::TrustCaller;
use crate::counters::{Counter, Counters};
use crate::headers;
use crate::provider::Skip;
use crate::trace::Ending;

/// Bytes of one piece that are read on Envoy. Pieces are of 1 MiB at the most, unless another filter buffers bodies.
const PIECE_MAX: usize = 4 * 1024 * 1024;

/// WasmX hands out so many headers at the most.
const HEADERS_MAX: usize = 100;

/// Headers of answers that tell the caller of its trace (`response_headers`).
const TRACE_ID: &str = "x-langfuse-trace-id";
const TRACE: &str = "x-langfuse-trace";

/// See the module's documentation.
pub(super) struct Stream {
    id: u32,
    root: Rc<Root>,
    call: Option<Box<Call>>,
    /// Why the call is not traced, where its caller is to be told.
    skipped: Option<Skip>,
    /// Envoy may know who the client is by its certificate.
    may_have_peer: bool,
    /// What Kong says of the call's route.
    route: Vec<GatewayFact>,
    /// Largest piece that may be read on WasmX; none on Envoy, which may be asked for a part.
    max_read: Option<usize>,
    /// Its beginning was seen.
    has_begun: bool,
    /// It was an LLM call before its context was made anew.
    is_reset: bool,
}

impl Stream {
    pub(super) fn new(id: u32, root: Rc<Root>) -> Self {
        Self {
            id,
            root,
            call: None,
            skipped: None,
            may_have_peer: false,
            route: Vec::new(),
            max_read: None,
            has_begun: false,
            is_reset: false,
        }
    }

    /// The path decides whether the call may be traced; the other headers are read only then.
    pub(super) fn request_headers(&mut self, vm: &Vm) {
        self.has_begun = true;
        vm.detect_host_in_stream();
        let Some((settings, counters)) = self.root.settings() else { return };
        let path = hostcalls::header(MapType::RequestHeaders, ":path").unwrap_or_default();
        let route = match find_route(&path, &settings, &counters) {
            Ok(route) => route,
            Err(skip) => return self.skip(skip, &settings),
        };
        if vm.host() != HostKind::Envoy {
            self.max_read = Some(settings.capture.read);
        }
        let pairs = hostcalls::header_pairs(MapType::RequestHeaders);
        let headers = parse_pairs(&pairs);
        // Only WasmX needs them, because its randomness is weak.
        let is_wasmx = vm.host() == HostKind::WasmX;
        let ids = if is_wasmx { RequestIds::read() } else { RequestIds::default() };
        let (now, gateway) = (hostcalls::now(), ids.as_ids(is_wasmx && vm.gateway.is_kong()));
        let routes = self.routes(&settings, vm);
        let all_headers = vm.host() == HostKind::Envoy || headers.len() < HEADERS_MAX;
        let (path, headers, routes) = (path.as_slice(), headers.as_slice(), routes.as_deref());
        let sent_path = ids.uri();
        let properties = Properties(&|path| hostcalls::property(path).ok());
        let at =
            Beginning { path, sent_path, headers, now, context_id: self.id, gateway, routes, all_headers, properties };
        match Call::begin(&settings, &counters, &vm.shared, route, &at) {
            Ok(call) => self.call = Some(Box::new(call)),
            Err(skip) => return self.skip(skip, &settings),
        }
        if is_wasmx {
            self.route = vm.gateway.route();
        } else {
            // Envoy writes this header for clients with a certificate (`forward_client_cert_details`).
            let is_told = headers::find(headers, "x-forwarded-client-cert").is_some();
            self.may_have_peer = is_told || settings.context.trust() == TrustCaller::Authenticated;
        }
    }

    fn skip(&mut self, skip: Skip, settings: &Settings) {
        self.skipped = Some(skip).filter(|_| settings.response_headers);
    }

    /// The gateway's route, where the table of projects asks for it.
    fn routes(&self, settings: &Settings, vm: &Vm) -> Option<Vec<Vec<u8>>> {
        match &settings.activation {
            Activation::Ready(projects) if projects.asks_for_route() => {
                let routes = vm.gateway.routes(vm.host());
                if routes.is_none() {
                    self.root.say_no_routes();
                }
                routes
            }
            _ => None,
        }
    }

    /// WasmX goes on with a call in a new context where it has lost the instance in which it began (docs/kong.md, "A
    /// changed filter chain"): what was seen of it is gone, but not that it was an LLM call.
    fn look_whether_reset(&mut self, vm: &Vm) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        vm.detect_host_in_stream();
        let Some((settings, _)) = self.root.settings().filter(|_| vm.host() == HostKind::WasmX) else { return };
        let path = hostcalls::header(MapType::RequestHeaders, ":path").unwrap_or_default();
        let is_post = hostcalls::header(MapType::RequestHeaders, ":method").as_deref() == Some(b"POST");
        self.is_reset = is_post && find_route(&path, &settings, &Counters::default()).is_ok();
    }

    pub(super) fn request_body(&mut self, vm: &Vm, size: usize) {
        self.look_whether_reset(vm);
        let Some(call) = self.call.as_mut().filter(|_| size > 0) else { return };
        let room = call.request_room();
        let root = &self.root;
        read(BufferType::RequestBody, size, self.max_read, room, |piece| {
            if let Piece::Unread(size, Unread::OnDisk) = piece {
                root.say_on_disk(size);
            }
            call.request_piece(piece);
        });
    }

    pub(super) fn response_headers(&mut self, vm: &Vm, end_of_stream: bool) {
        self.look_whether_reset(vm);
        let Some(call) = self.call.as_mut() else { return self.tell_skipped() };
        let pairs = hostcalls::header_pairs(MapType::ResponseHeaders);
        call.response_headers(&parse_pairs(&pairs));
        match call.announcement() {
            Some(Ok(trace)) => hostcalls::set_response_header(TRACE_ID, &format!("{trace:?}")),
            Some(Err(skip)) => self.skipped = Some(skip),
            None => {}
        }
        self.tell_skipped();
        let Some(call) = self.call.as_mut() else { return };
        if end_of_stream {
            call.response_ended();
            call.note_end(&hostcalls::now);
        }
        if call.is_upgraded() {
            self.finish_untraced();
        }
    }

    /// Tells the caller why its call is not traced, where it is to be told.
    fn tell_skipped(&self) {
        if let Some(skip) = self.skipped {
            hostcalls::set_response_header(TRACE, &format!("skipped;reason={}", skip.name()));
        }
    }

    /// A tunnel may live for days: its capture must not.
    fn finish_untraced(&mut self) {
        if let Some(call) = self.call.take() {
            let none = call.finish(&End::default());
            debug_assert!(none.is_none(), "an upgraded call has no trace");
        }
    }

    /// `end_of_stream` is a hint that WasmX often does not give, and never gives wrongly.
    pub(super) fn response_body(&mut self, vm: &Vm, size: usize, end_of_stream: bool) {
        self.look_whether_reset(vm);
        let Some(call) = self.call.as_mut() else { return };
        if size > 0 {
            let room = call.response_room();
            let take = |piece: Piece<'_>| call.response_piece(piece, &hostcalls::now);
            read(BufferType::ResponseBody, size, self.max_read, room, take);
        }
        if end_of_stream {
            call.response_ended();
        }
        call.note_end(&hostcalls::now);
    }

    /// The exchange is over: the last callback in which the host may be asked.
    pub(super) fn log(&mut self, vm: &Vm) {
        self.look_whether_reset(vm);
        let Some(call) = self.call.take() else { return };
        let now = hostcalls::now();
        let (mut details, mut gateway, mut ending) = (None, Vec::new(), None);
        match vm.host() {
            HostKind::Envoy => {
                let wants_details = call.wants_details();
                gateway = Gateway::envoy_facts(self.may_have_peer, wants_details);
                if wants_details {
                    details = hostcalls::property(&["response", "code_details"]).ok();
                }
            }
            HostKind::WasmX => {
                gateway = std::mem::take(&mut self.route);
                gateway.extend(vm.gateway.facts());
                ending = Some(Ending::ClientGone).filter(|_| call.wants_details() && Gateway::client_is_gone());
                Root::say_isolated(vm);
            }
            _ => {}
        }
        let details = details.as_deref().map(String::from_utf8_lossy);
        self.finish(vm, call, &End { now, details: details.as_deref(), ending, gateway: &gateway });
    }

    /// The context is deleted. A call whose log phase has not come is one that nginx answered itself: its `error_page`
    /// makes it forget the filter, and here any property that is asked for crashes the worker.
    pub(super) fn deleted(&mut self, vm: &Vm) {
        if self.is_reset {
            self.root.lost(Counter::DroppedReset);
        }
        let Some(call) = self.call.take().filter(|_| vm.host() == HostKind::WasmX) else { return };
        let gateway = std::mem::take(&mut self.route);
        let ending = Some(Ending::AnsweredByGateway);
        self.finish(vm, call, &End { now: hostcalls::now(), details: None, ending, gateway: &gateway });
    }

    fn finish(&self, vm: &Vm, call: Box<Call>, end: &End<'_>) {
        let Some(call) = call.finish(end) else { return };
        if let Some((settings, _)) = self.root.settings() {
            let size = call.span.len();
            let line = || format!("ai-tracing: call of context {} traced, {size} bytes queued", self.id);
            log::line(settings.log_level, LogLevel::Debug, line);
        }
        self.root.offer(vm, call, end.now);
    }
}

/// Reads as much of a piece as is of use. WasmX must be asked for a piece whole, so there a large one is not read at
/// all; Envoy may be asked for its beginning.
fn read(kind: BufferType, size: usize, max_read: Option<usize>, room: usize, mut take: impl FnMut(Piece<'_>)) {
    let wanted = match max_read {
        _ if room == 0 => return take(Piece::Unread(size, Unread::BeyondScan)),
        Some(max_read) if size > max_read => return take(Piece::Unread(size, Unread::TooLarge)),
        Some(_) => size,
        None => size.min(room).min(PIECE_MAX),
    };
    match hostcalls::buffer(kind, wanted) {
        Some(bytes) => take(Piece::Bytes(&bytes)),
        // nginx keeps the body of a request in memory or on disk; of an answer it always has the piece at hand.
        None if matches!(kind, BufferType::RequestBody) && max_read.is_some() => {
            return take(Piece::Unread(size, Unread::OnDisk));
        }
        None => return take(Piece::Unread(size, Unread::NotAvailable)),
    }
    if wanted < size {
        let why = if wanted < room { Unread::TooLarge } else { Unread::BeyondScan };
        take(Piece::Unread(size - wanted, why));
    }
}
