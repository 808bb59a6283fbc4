//! One root context: its configuration, its exporter, and the tick that drives it.
//!
//! Export calls are made from the tick alone, one at a time: on WasmX anything else leaks connections or crashes the
//! worker. The tick is set once and never changed, for the same reason.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::{self, BufferType, MapType};
use super::vm::{HostKind, Vm};
use super::{gateway, hostcalls, log};
use crate::config::{Activation, LogLevel, Settings, Target, is_address};
use crate::counters::{Counter, Counters};
use crate::export::otlp::Resource;
use crate::export::{self, Exporter, NotCalled, Note, Reply, Step};

/// Period of the tick, milliseconds. One batch may leave at each: 50 MiB of traces a second with the default batch size.
const TICK_MS: u32 = 20;
const MS: u64 = 1_000_000;
/// How often a filter that cannot trace says so, and how often drops are reported.
const REMIND_NS: u64 = 60_000 * MS;
/// Refused calls after which WasmX is not asked any more.
const REFUSED_MAX: u32 = 5;
/// Notes of the exporter that are logged a minute.
const NOTES_MAX: u32 = 6;

/// What a configured root works with.
#[derive(Debug)]
struct Active {
    settings: Rc<Settings>,
    target: Target,
    path: String,
    exporter: Exporter,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Root {
    id: u32,
    active: RefCell<Option<Active>>,
    /// Why the filter is disabled although it was meant to trace.
    problem: RefCell<Option<String>>,
    counters: Rc<Counters>,
    ticking: Cell<bool>,
    last_tick: Cell<u64>,
    /// The next tick says where traces go.
    announce: Cell<bool>,
    /// It has been said that bodies are on disk.
    on_disk_said: Cell<bool>,
    last_reminder: Cell<u64>,
    drops_reported: Cell<u64>,
    /// Calls that the host refused since the configuration.
    refused_calls: Cell<u32>,
    /// Since when notes are counted, and how many there were.
    notes: Cell<(u64, u32)>,
}

impl Root {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            active: RefCell::default(),
            problem: RefCell::default(),
            counters: Rc::default(),
            ticking: Cell::new(false),
            last_tick: Cell::new(0),
            announce: Cell::new(false),
            on_disk_said: Cell::new(false),
            last_reminder: Cell::new(0),
            drops_reported: Cell::new(0),
            refused_calls: Cell::new(0),
            notes: Cell::new((0, 0)),
        }
    }

    pub(super) fn is_tracing(&self) -> bool {
        self.active.try_borrow().is_ok_and(|active| active.is_some())
    }

    /// What a stream needs of its root.
    pub(super) fn settings(&self) -> Option<(Rc<Settings>, Rc<Counters>)> {
        let active = self.active.try_borrow().ok()?;
        Some((Rc::clone(&active.as_ref()?.settings), Rc::clone(&self.counters)))
    }

    /// Takes the configuration; false where Envoy should refuse it. May be called again: the last one counts.
    pub(super) fn configure(&self, vm: &Vm, size: usize) -> bool {
        let bytes = if size == 0 { None } else { hostcalls::buffer(BufferType::PluginConfiguration, size) };
        let bytes = bytes.unwrap_or_default();
        let accepted = match Settings::load(&bytes, &hostcalls::variable) {
            Ok(settings) => {
                self.apply(vm, settings, &bytes);
                true
            }
            Err(error) => {
                self.disable(format!("configuration refused: {error}"));
                // A root that answers false kills a WasmX worker.
                vm.detect_host_in_root() != HostKind::Envoy
            }
        };
        let needed = self.is_tracing() || self.problem.try_borrow().is_ok_and(|problem| problem.is_some());
        if needed {
            self.start_ticking();
        }
        accepted
    }

    fn apply(&self, vm: &Vm, settings: Settings, text: &[u8]) {
        vm.shared.budget.set_limit(settings.memory_budget);
        settings.warnings.iter().for_each(|warning| log::operator(&format!("ai-tracing: {warning}")));
        let target = match &settings.activation {
            Activation::Ready(target) => target.clone(),
            Activation::Incomplete(problem) => return self.disable(problem.clone()),
            Activation::Off => {
                self.replace(None);
                return say_off(&settings, text);
            }
        };
        self.announce.set(true);
        let exporter = Exporter::new(settings.export, target.timeout_ms, &vm.shared.budget, &self.counters);
        let path = target.endpoint.otlp_path();
        self.replace(Some(Active { settings: Rc::new(settings), target, path, exporter }));
    }

    fn disable(&self, problem: String) {
        log::operator(&format!("ai-tracing: disabled, traffic is not traced: {problem}"));
        self.replace(None);
        self.last_reminder.set(hostcalls::now());
        if let Ok(mut slot) = self.problem.try_borrow_mut() {
            *slot = Some(problem);
        }
    }

    fn replace(&self, active: Option<Active>) {
        self.refused_calls.set(0);
        if let Ok(mut slot) = self.active.try_borrow_mut() {
            *slot = active;
        }
        if let Ok(mut slot) = self.problem.try_borrow_mut() {
            *slot = None;
        }
    }

    fn start_ticking(&self) {
        if !self.ticking.replace(true) {
            hostcalls::set_tick_period(TICK_MS);
        }
    }

    /// Takes the span of a call that is over.
    pub(super) fn offer(&self, span: Vec<u8>, now: u64) {
        if let Ok(mut active) = self.active.try_borrow_mut()
            && let Some(active) = active.as_mut()
        {
            return active.exporter.offer(span, now);
        }
        // Tracing was switched off while the call passed.
        self.counters.add(Counter::Offered, 1);
        self.counters.add(Counter::DroppedShutdown, 1);
    }

    /// Runs the export. Timers may come doubled or early after an instance was re-created: those do nothing.
    pub(super) fn tick(&self, vm: &Vm) {
        let now = hostcalls::now();
        let last = self.last_tick.get();
        if now >= last && now - last < u64::from(TICK_MS) / 2 * MS {
            return;
        }
        self.last_tick.set(now);
        // What an instance of one request began would die with it.
        if !vm.is_lasting() {
            return;
        }
        self.announce();
        self.export(vm, now);
        self.remind(now);
        if vm.host() == HostKind::Envoy {
            vm.metrics.publish(&self.counters);
        }
    }

    /// Says where traces go: with a tick, not in on_configure, which runs for every request where WasmX isolates
    /// instances.
    fn announce(&self) {
        if self.announce.replace(false)
            && let Ok(active) = self.active.try_borrow()
            && let Some(Active { target, .. }) = active.as_ref()
        {
            let (version, url) = (env!("CARGO_PKG_VERSION"), target.endpoint.base_url());
            log::operator(&format!("ai-tracing {version}: tracing to Langfuse at {url}"));
        }
    }

    fn export(&self, vm: &Vm, now: u64) {
        let Ok(mut active) = self.active.try_borrow_mut() else { return };
        let Some(Active { settings, target, path, exporter }) = active.as_mut() else { return };
        let service_name = if vm.host() == HostKind::WasmX { "kong" } else { "envoy" };
        let resource = Resource { service_name, environment: &settings.labels.environment };
        let note = match exporter.poll(now, resource) {
            Step::Wait => None,
            Step::Say(note) => Some(note),
            Step::Call(_) if !self.may_call(vm, target) => {
                // Not known yet to be Envoy, where any name may be a cluster: waits for the first request to tell.
                if vm.host() == HostKind::Unknown {
                    return;
                }
                exporter.dispatched(now, Err(NotCalled::NoUpstream))
            }
            Step::Call(body) => exporter.dispatched(now, self.call(target, path, &body)),
        };
        self.report(note, target, settings.log_level, now);
    }

    /// WasmX loses a connection with every call that it refuses: addresses that are none are not tried, and after some
    /// refusals nothing is until the next configuration.
    fn may_call(&self, vm: &Vm, target: &Target) -> bool {
        vm.host() == HostKind::Envoy || (is_address(&target.upstream) && self.refused_calls.get() < REFUSED_MAX)
    }

    fn call(&self, target: &Target, path: &str, body: &[u8]) -> Result<u32, NotCalled> {
        let headers = export::headers(target, path);
        hostcalls::http_call(&target.upstream, &headers, body, target.timeout_ms).map_err(|status| {
            self.refused_calls.set(self.refused_calls.get().saturating_add(1));
            if status == abi::BAD_ARGUMENT { NotCalled::NoUpstream } else { NotCalled::NotNow }
        })
    }

    /// Logs a note, at most [`NOTES_MAX`] a minute: a server that answers now this, now that, must not fill the log.
    fn report(&self, note: Option<Note>, target: &Target, threshold: LogLevel, now: u64) {
        let Some(note) = note else { return };
        let (since, said) = self.notes.get();
        let (since, said) = if now.saturating_sub(since) >= REMIND_NS { (now, 0) } else { (since, said) };
        self.notes.set((since, said + 1));
        if said < NOTES_MAX {
            report(note, target, threshold);
        }
    }

    /// Says once that nginx has put a request's body of `size` bytes where a filter cannot read it.
    pub(super) fn say_on_disk(&self, size: usize) {
        if !self.on_disk_said.replace(true) {
            log::operator(&format!(
                "ai-tracing: a request body of {size} bytes was not traced: nginx has written it to disk; raise \
                 client_body_buffer_size (Kong: KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE=8m)"
            ));
        }
    }

    /// Says that WasmX may be giving each request an instance of its own, with which its trace is gone. Such an instance
    /// has no memory, so the gateway's numbers choose who speaks; it cannot know more than that it was not there before.
    pub(super) fn say_isolated(vm: &Vm) {
        if vm.may_be_isolated() && gateway::is_one_of_few() {
            log::operator(
                "ai-tracing: this request has an instance of its own: the gateway has just made the filter anew, or \
                 proxy_wasm_isolation is not none, and then no trace can be sent; set it to none",
            );
        }
    }

    /// An answer to an export call.
    pub(super) fn call_answered(&self, token: u32, header_count: u32) {
        let read = |name| if header_count == 0 { None } else { hostcalls::header(MapType::CallResponseHeaders, name) };
        let status = read(":status").and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        let retry_after = read("retry-after").and_then(|value| export::retry_after(&value));
        let Ok(mut active) = self.active.try_borrow_mut() else { return };
        let Some(Active { settings, target, exporter, .. }) = active.as_mut() else { return };
        let now = hostcalls::now();
        let note = exporter.answered(now, token, Reply { status, retry_after });
        self.report(note, target, settings.log_level, now);
    }

    /// Says again, once a minute, what an operator should not overlook. The first drop is reported at once.
    fn remind(&self, now: u64) {
        let dropped = self.counters.dropped();
        let due = now.saturating_sub(self.last_reminder.get()) >= REMIND_NS;
        let new_drops = dropped > self.drops_reported.get();
        if new_drops && (due || self.drops_reported.get() == 0) {
            self.drops_reported.set(dropped);
            self.last_reminder.set(now);
            log::operator(&format!("ai-tracing: {dropped} traces dropped so far; the metrics tell the reasons"));
        }
        if due && let Some(problem) = self.problem.try_borrow().ok().and_then(|problem| problem.clone()) {
            self.last_reminder.set(now);
            log::operator(&format!("ai-tracing: disabled, traffic is not traced: {problem}"));
        }
    }

    /// The root is about to end.
    pub(super) fn done(&self) {
        let pending = self.active.try_borrow().ok().and_then(|active| Some(active.as_ref()?.exporter.pending()));
        if let Some(pending) = pending.filter(|pending| *pending > 0) {
            log::operator(&format!("ai-tracing: root context {} ends with {pending} traces not sent", self.id));
        }
    }
}

/// Says that nothing is traced: aloud where the configuration says something, but not that.
fn say_off(settings: &Settings, text: &[u8]) {
    if !text.trim_ascii().is_empty() && memchr::memmem::find(text, b"langfuse_enabled").is_none() {
        return log::operator(
            "ai-tracing: nothing is traced: the configuration does not set langfuse_enabled (in Kong, PATCH replaces the \
             whole config of a filter)",
        );
    }
    log::line(settings.log_level, LogLevel::Info, || {
        "ai-tracing: langfuse_enabled is false: nothing is traced".to_owned()
    });
}

/// Words a note of the exporter.
fn report(note: Note, target: &Target, threshold: LogLevel) {
    let url = target.endpoint.base_url();
    let upstream = &target.upstream;
    let text = match note {
        Note::Connected => return log::operator(&format!("ai-tracing: connected to Langfuse at {url}")),
        Note::WrongKeys(status) => format!(
            "Langfuse at {url} refuses the keys (HTTP {status}): check langfuse_public_key and langfuse_secret_key; \
             asking again every minute"
        ),
        Note::Unreachable(None) => format!(
            "no answer from Langfuse at {url} (called as {upstream}): check that the host can be found (resolver) and \
             reached; trying again"
        ),
        Note::Unreachable(Some(status)) => {
            format!("Langfuse at {url} answers HTTP {status} (called as {upstream}); trying again")
        }
        Note::CannotCall => {
            format!(
                "the gateway finds no healthy host to call as `{upstream}`: check the cluster's endpoints; trying again"
            )
        }
        Note::NoUpstream => format!(
            "the gateway cannot call `{upstream}`: define a cluster of that name (Envoy) or a valid address (Kong), or \
             set langfuse_upstream; trying again"
        ),
        Note::WrongAddress(status) => format!(
            "there is no OTLP receiver of Langfuse at {url} (HTTP {status}): check langfuse_endpoint (https or http, path) \
             and that Langfuse is 3.22 or later; asking again every minute"
        ),
        Note::Refused(status) => {
            return log::line(threshold, LogLevel::Warn, || {
                format!("ai-tracing: Langfuse at {url} refused a batch for good (HTTP {status})")
            });
        }
    };
    log::operator(&format!("ai-tracing: {text}"));
}
