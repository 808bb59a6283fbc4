//! What lives in one VM: its contexts, and what they share.
//!
//! Several filters (root contexts) may share a VM on both hosts; each has its own configuration and queue, all draw on
//! one budget. The VM has one thread. Contexts are handed out as `Rc`, so that a host that calls back while it is being
//! called finds a context busy, not the table.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::callout::Answer;
use super::clock::Clock;
use super::gateway::Gateway;
use super::metrics::Metrics;
use super::root::Root;
use super::stream::Stream;
use super::{abi, hostcalls};
use crate::call::Shared;
use crate::counters::Counters;
use crate::measures::Measures;

/// Which host this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostKind {
    /// Not known yet: the rules of both hold.
    Unknown,
    /// Envoy.
    Envoy,
    /// ngx_wasm_module (Kong, nginx).
    WasmX,
}

/// Context ids are small numbers in sequence: multiplying spreads them enough.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type ById<T> = RefCell<HashMap<u32, T, BuildHasherDefault<IdHasher>>>;

/// See the module's documentation.
pub(super) struct Vm {
    roots: ById<Rc<Root>>,
    streams: ById<Rc<RefCell<Stream>>>,
    host: Cell<HostKind>,
    /// The host has started this VM (`on_vm_start`), which WasmX does not do where it re-creates an instance.
    started: Cell<bool>,
    /// Ticks, and what may be done with them.
    pub clock: Clock,
    /// Streams that began in this VM, and whether one has ended in it.
    streams_begun: Cell<u64>,
    stream_ended: Cell<bool>,
    /// Budget and ids.
    pub shared: Shared,
    /// What is measured of calls and exports.
    pub measures: Measures,
    metrics: Metrics,
    /// What is known of nginx and Kong.
    pub gateway: Gateway,
}

/// Until a configuration says otherwise.
const DEFAULT_BUDGET: usize = 64 * 1024 * 1024;

impl Vm {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            roots: RefCell::default(),
            streams: RefCell::default(),
            host: Cell::new(HostKind::Unknown),
            started: Cell::new(false),
            clock: Clock::default(),
            streams_begun: Cell::new(0),
            stream_ended: Cell::new(false),
            shared: Shared::new(DEFAULT_BUDGET, hostcalls::random()),
            measures: Measures::default(),
            metrics: Metrics::default(),
            gateway: Gateway::default(),
        })
    }

    /// The VM of this thread.
    pub(super) fn get() -> Rc<Self> {
        thread_local!(static VM: Rc<Vm> = Vm::new());
        VM.with(Rc::clone)
    }

    /// Begins a context: a root, or (where `root` is one) a stream of it. Streams of a root that does not trace are
    /// not kept, so that they cost nothing more.
    pub(super) fn create(&self, id: u32, root: u32) {
        if root == 0 {
            if let Ok(mut roots) = self.roots.try_borrow_mut() {
                roots.insert(id, Rc::new(Root::new(id)));
            }
            return;
        }
        self.streams_begun.set(self.streams_begun.get().saturating_add(1));
        let Some(root) = self.root(root).filter(|root| root.is_tracing()) else { return };
        if let Ok(mut streams) = self.streams.try_borrow_mut() {
            streams.insert(id, Rc::new(RefCell::new(Stream::new(id, root))));
        }
    }

    /// All roots, in no order.
    pub(super) fn roots(&self) -> Vec<Rc<Root>> {
        self.roots.try_borrow().map(|roots| roots.values().cloned().collect()).unwrap_or_default()
    }

    /// Requests that this VM has seen.
    pub(super) fn requests(&self) -> u64 {
        self.streams_begun.get()
    }

    /// The root of that id.
    pub(super) fn root(&self, id: u32) -> Option<Rc<Root>> {
        self.roots.try_borrow().ok()?.get(&id).cloned()
    }

    /// An answer to an export call of any root: on WasmX calls are made in the name of the root whose timer it was.
    pub(super) fn call_answered(&self, token: u32, headers: u32, body_size: usize) {
        let answer = Answer::read(self, headers, body_size);
        let now = hostcalls::now();
        self.roots().iter().any(|root| root.call_answered(self, token, &answer, now));
        self.clock.watch_calls(self, now);
    }

    /// Runs `act` on the stream of that id, if it is traced.
    pub(super) fn with_stream(&self, id: u32, act: impl FnOnce(&mut Stream, &Self)) {
        let stream = self.streams.try_borrow().ok().and_then(|streams| streams.get(&id).cloned());
        if let Some(stream) = stream
            && let Ok(mut stream) = stream.try_borrow_mut()
        {
            act(&mut stream, self);
        }
    }

    /// Ends a context.
    pub(super) fn delete(&self, id: u32) {
        let stream = self.streams.try_borrow_mut().ok().and_then(|mut streams| streams.remove(&id));
        let Some(stream) = stream else {
            let root = self.roots.try_borrow_mut().ok().and_then(|mut roots| roots.remove(&id));
            return self.stream_ended.set(self.stream_ended.get() || root.is_none());
        };
        self.stream_ended.set(true);
        if let Ok(mut stream) = stream.try_borrow_mut() {
            stream.deleted(self);
        }
    }

    /// The host starts that root.
    pub(super) fn start(&self, id: u32) {
        self.started.set(true);
        if let Some(root) = self.root(id) {
            root.start();
        }
        self.clock.root_started(self.requests());
    }

    /// This is WasmX, as far as is known: Envoy starts every root.
    pub(super) fn is_wasmx(&self) -> bool {
        match self.host() {
            HostKind::WasmX => true,
            HostKind::Envoy => false,
            HostKind::Unknown => !self.started.get(),
        }
    }

    /// This VM outlives its requests: the host has started it, or one of its streams has ended and it is still called.
    /// With an isolation other than `none`, WasmX makes an instance for each request, which ticks as long as that lasts.
    pub(super) fn is_lasting(&self) -> bool {
        self.started.get() || self.stream_ended.get()
    }

    /// This VM may have been made for its one stream.
    pub(super) fn may_be_isolated(&self) -> bool {
        !self.is_lasting() && self.streams_begun.get() == 1
    }

    /// Publishes what was counted and measured, where the host has metrics: asking for them where there are none traps.
    pub(super) fn publish(&self, counters: &Counters) {
        let has_metrics = match self.host() {
            HostKind::Envoy => true,
            HostKind::WasmX => self.gateway.has_metrics(),
            HostKind::Unknown => false,
        };
        if has_metrics {
            self.metrics.publish(counters, &self.measures);
        }
    }

    /// Which host this is, as far as it is known. Its clock may tell before a request does.
    pub(super) fn host(&self) -> HostKind {
        if self.host.get() == HostKind::Unknown && hostcalls::has_fine_clock() {
            self.host.set(HostKind::Envoy);
        }
        self.host.get()
    }

    /// Finds out in an HTTP context, where asking is silent on both hosts: only nginx has `ngx.*` properties.
    pub(super) fn detect_host_in_stream(&self) {
        if self.host() == HostKind::Unknown {
            match hostcalls::property(&["ngx", "pid"]) {
                Ok(_) => self.host.set(HostKind::WasmX),
                Err(abi::NOT_FOUND) => self.host.set(HostKind::Envoy),
                Err(_) => {}
            }
        }
    }

    /// Finds out in a root context. WasmX writes an error line for it, so this is asked only where there is an error to
    /// report anyway.
    pub(super) fn detect_host_in_root(&self) -> HostKind {
        hostcalls::now();
        if self.host() == HostKind::Unknown {
            let envoy = hostcalls::property(&["ngx", "pid"]) == Err(abi::NOT_FOUND);
            self.host.set(if envoy { HostKind::Envoy } else { HostKind::WasmX });
        }
        self.host.get()
    }
}
