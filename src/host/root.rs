//! One root context: its configuration, its exporter, the tick that drives it, and its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::BufferType;
use super::callout::{Answer, Caller};
use super::notes::Notes;
use super::vm::{HostKind, Vm};
use super::{gateway, hostcalls, log};
use crate::call::Finished;
use crate::config::{Activation, LogLevel, Projects, Secret, Settings};
use crate::counters::{Counter, Counters};
use crate::export::otlp::Resource;
use crate::export::{Exporter, Lane, NotCalled, Step};

/// Period of the tick, milliseconds. One batch may leave at each: 50 MiB of traces a second with the default batch size.
const TICK_MS: u32 = 20;
const MS: u64 = 1_000_000;
/// How often a filter that cannot trace says so, and how often drops are reported.
const REMIND_NS: u64 = 60_000 * MS;
/// How long a root that ends may go on to send what it has.
const END_NS: u64 = 10_000 * MS;

/// What a configured root works with.
#[derive(Debug)]
struct Active {
    settings: Rc<Settings>,
    projects: Projects,
    exporter: Exporter,
    caller: Caller,
    notes: Notes,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Root {
    id: u32,
    /// The text that is in force; it may hold keys.
    configuration: RefCell<Option<Secret>>,
    active: RefCell<Option<Active>>,
    /// What keeps (some) traffic from being traced although it was meant to be.
    problem: RefCell<Option<String>>,
    counters: Rc<Counters>,
    ticking: Cell<bool>,
    last_tick: Cell<u64>,
    /// The next tick says where traces go.
    announce: Cell<bool>,
    last_reminder: Cell<u64>,
    drops_reported: Cell<u64>,
    /// It has been said that bodies are on disk.
    on_disk_said: Cell<bool>,
    /// It has been said that the host knows no routes.
    no_routes_said: Cell<bool>,
    /// The host waits for this root to end, at this time at the latest.
    ends_at: Cell<Option<u64>>,
}

impl Root {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            configuration: RefCell::default(),
            active: RefCell::default(),
            problem: RefCell::default(),
            counters: Rc::default(),
            ticking: Cell::new(false),
            last_tick: Cell::new(0),
            announce: Cell::new(false),
            last_reminder: Cell::new(0),
            drops_reported: Cell::new(0),
            on_disk_said: Cell::new(false),
            no_routes_said: Cell::new(false),
            ends_at: Cell::new(None),
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

    /// Takes the configuration; false where Envoy should refuse it. May be called again: the same text changes nothing,
    /// of several the last one counts.
    pub(super) fn configure(&self, vm: &Vm, size: usize) -> bool {
        let bytes = if size == 0 { None } else { hostcalls::buffer(BufferType::PluginConfiguration, size) };
        let bytes = bytes.unwrap_or_default();
        let text = Some(Secret::new(String::from_utf8_lossy(&bytes).into_owned()));
        if self.is_tracing() && self.configuration.try_borrow().is_ok_and(|known| *known == text) {
            return true;
        }
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
        if let Ok(mut known) = self.configuration.try_borrow_mut() {
            *known = text;
        }
        if self.is_tracing() || self.has_problem() {
            self.start_ticking();
        }
        accepted
    }

    fn apply(&self, vm: &Vm, settings: Settings, text: &[u8]) {
        vm.shared.budget.set_limit(settings.memory_budget);
        settings.warnings.iter().for_each(|warning| log::operator(&format!("ai-tracing: {warning}")));
        let projects = match &settings.activation {
            Activation::Ready(projects) => projects.clone(),
            Activation::Incomplete(problem) => return self.disable(problem.clone()),
            Activation::Off => {
                self.replace(None);
                return say_off(&settings, text);
            }
        };
        self.announce.set(true);
        let timeout_ms = projects.targets.iter().map(|target| target.timeout_ms).max().unwrap_or_default();
        let budget = &vm.shared.budget;
        let count = projects.targets.len();
        let limits = settings.export.shared_by(count, settings.memory_budget);
        let lanes = projects.targets.iter();
        let lanes = lanes.map(|target| Lane::new(limits, target.protocol, budget, &self.counters)).collect();
        let problems = projects.problems.join("; ");
        let (settings, exporter) = (Rc::new(settings), Exporter::new(lanes, timeout_ms));
        let (caller, notes) = (Caller::new(count), Notes::new(count));
        self.replace(Some(Active { settings, projects, exporter, caller, notes }));
        if !problems.is_empty() {
            self.set_problem(format!("calls of one project are not traced: {problems}"));
        }
    }

    fn disable(&self, problem: String) {
        self.replace(None);
        self.set_problem(format!("disabled, traffic is not traced: {problem}"));
    }

    fn replace(&self, active: Option<Active>) {
        if let Ok(mut slot) = self.active.try_borrow_mut() {
            *slot = active;
        }
        if let Ok(mut slot) = self.problem.try_borrow_mut() {
            *slot = None;
        }
    }

    fn set_problem(&self, problem: String) {
        log::operator(&format!("ai-tracing: {problem}"));
        self.last_reminder.set(hostcalls::now());
        if let Ok(mut slot) = self.problem.try_borrow_mut() {
            *slot = Some(problem);
        }
    }

    fn has_problem(&self) -> bool {
        self.problem.try_borrow().is_ok_and(|problem| problem.is_some())
    }

    fn start_ticking(&self) {
        if !self.ticking.replace(true) {
            hostcalls::set_tick_period(TICK_MS);
        }
    }

    /// Takes a call that is over.
    pub(super) fn offer(&self, vm: &Vm, mut call: Finished, now: u64) {
        if vm.host() == HostKind::WasmX {
            // Names of metrics are never given back there, and the one too many traps.
            call.sample.model = None;
        }
        vm.measures.call(&call.sample);
        if let Ok(mut active) = self.active.try_borrow_mut()
            && let Some(active) = active.as_mut().filter(|active| Rc::ptr_eq(&active.settings, &call.settings))
            && active.exporter.offer(call.project, call.span, now)
        {
            return;
        }
        // Tracing was switched off, or set up anew, while the call passed: its project may be another one now.
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
        vm.publish(&self.counters);
        if self.ends_at.get().is_some_and(|ends_at| self.is_drained() || now >= ends_at) {
            self.end(vm);
            hostcalls::done();
        }
    }

    /// Says where traces go: with a tick, not in on_configure, which runs for every request where WasmX isolates
    /// instances.
    fn announce(&self) {
        if self.announce.replace(false)
            && let Ok(active) = self.active.try_borrow()
            && let Some(Active { projects, .. }) = active.as_ref()
        {
            let version = env!("CARGO_PKG_VERSION");
            for target in &projects.targets {
                log::operator(&format!("ai-tracing {version}: tracing to Langfuse at {}", target.endpoint.base_url()));
            }
        }
    }

    fn export(&self, vm: &Vm, now: u64) {
        let Ok(mut active) = self.active.try_borrow_mut() else { return };
        let Some(Active { settings, projects, exporter, caller, notes }) = active.as_mut() else { return };
        notes.catch_up(&projects.targets, settings.log_level, now);
        let service_name = if vm.host() == HostKind::WasmX { "kong" } else { "envoy" };
        let resource = Resource { service_name };
        let (lane, note) = match exporter.poll(now, resource) {
            Step::Wait => return,
            Step::Say(lane, note) => (lane, Some(note)),
            Step::Call(call) => {
                let Some(target) = projects.targets.get(call.lane) else { return };
                let may_call = caller.may_call(vm, call.lane, target);
                // Not known yet to be Envoy, where any name may be a cluster: waits for the first request to tell.
                if !may_call && vm.host() == HostKind::Unknown {
                    return;
                }
                let outcome = if may_call { caller.call(target, &call) } else { Err(NotCalled::NoUpstream) };
                (call.lane, exporter.dispatched(now, call.lane, outcome))
            }
        };
        if let (Some(note), Some(target)) = (note, projects.targets.get(lane)) {
            notes.log(note, lane, target, settings.log_level, now);
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

    /// Says once that the table of projects asks for routes, which this host does not tell.
    pub(super) fn say_no_routes(&self) {
        if !self.no_routes_said.replace(true) {
            log::operator(
                "ai-tracing: projects ask for a route, which this gateway does not tell (Kong does from 3.6 on): calls that \
                 may be for such a project are not traced",
            );
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
    pub(super) fn call_answered(&self, vm: &Vm, token: u32, headers: u32, body_size: usize) {
        let answer = Answer::read(vm, headers, body_size);
        let Ok(mut active) = self.active.try_borrow_mut() else { return };
        let Some(Active { settings, projects, exporter, notes, .. }) = active.as_mut() else { return };
        let now = hostcalls::now();
        if let Some(took) = exporter.call_age(token, now) {
            vm.measures.export(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some((lane, note)) = exporter.answered(now, token, &answer.as_reply())
            && let Some(target) = projects.targets.get(lane)
        {
            notes.log(note, lane, target, settings.log_level, now);
        }
    }

    /// Says again, once a minute, what an operator should not overlook. The first drop is reported at once.
    fn remind(&self, now: u64) {
        let dropped = self.counters.dropped();
        let due = now.saturating_sub(self.last_reminder.get()) >= REMIND_NS;
        let new_drops = dropped > self.drops_reported.get();
        if new_drops && (due || self.drops_reported.get() == 0) {
            self.drops_reported.set(dropped);
            self.last_reminder.set(now);
            log::operator(&format!("ai-tracing: traces dropped so far: {}", self.counters.drops_by_reason()));
        }
        if due && let Some(problem) = self.problem.try_borrow().ok().and_then(|problem| problem.clone()) {
            self.last_reminder.set(now);
            log::operator(&format!("ai-tracing: {problem}"));
        }
    }

    /// The host is about to end this root; true where it may at once. Envoy waits for the end of what is under way; on
    /// SIGTERM it does not, so that one call is made now.
    pub(super) fn is_done(&self, vm: &Vm) -> bool {
        if self.is_drained() || vm.host() != HostKind::Envoy {
            self.end(vm);
            return true;
        }
        let now = hostcalls::now();
        self.ends_at.set(Some(now.saturating_add(END_NS)));
        let mut projects = 0;
        if let Ok(mut active) = self.active.try_borrow_mut()
            && let Some(active) = active.as_mut()
        {
            projects = active.projects.targets.len();
            let pending = active.exporter.pending();
            log::operator(&format!("ai-tracing: root context {} ends: sending {pending} traces", self.id));
            active.exporter.end();
        }
        // A call for each project: on SIGTERM nothing comes after these.
        (0..projects).for_each(|_| self.export(vm, now));
        vm.publish(&self.counters);
        false
    }

    fn is_drained(&self) -> bool {
        let active = self.active.try_borrow();
        active.is_ok_and(|active| active.as_ref().is_none_or(|active| active.exporter.is_drained()))
    }

    /// What is still here is lost, and counted.
    fn end(&self, vm: &Vm) {
        let pending = self.active.try_borrow().ok().and_then(|active| Some(active.as_ref()?.exporter.pending()));
        if let Some(pending) = pending.filter(|pending| *pending > 0) {
            log::operator(&format!("ai-tracing: root context {} ends with {pending} traces not sent", self.id));
        }
        self.ends_at.set(None);
        self.replace(None);
        vm.publish(&self.counters);
    }
}

// The search of `memchr` is made for long texts, and 6 KB long itself.
fn names_switch(text: &[u8]) -> bool {
    const SWITCH: &[u8] = b"langfuse_enabled";
    text.windows(SWITCH.len()).any(|part| part == SWITCH)
}

/// Says that nothing is traced: aloud where the configuration says something, but not that.
fn say_off(settings: &Settings, text: &[u8]) {
    if !text.trim_ascii().is_empty() && !names_switch(text) {
        return log::operator(
            "ai-tracing: nothing is traced: the configuration does not set langfuse_enabled (in Kong, PATCH replaces the \
             whole config of a filter)",
        );
    }
    log::line(settings.log_level, LogLevel::Info, || {
        "ai-tracing: langfuse_enabled is false: nothing is traced".to_owned()
    });
}
