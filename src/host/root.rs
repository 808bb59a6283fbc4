//! One root context: its configuration, what it has to say, and its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::BufferType;
use super::active::Active;
use super::callout::Answer;
use super::vm::{HostKind, Vm};
use super::{gateway, hostcalls, log};
use crate::call::Finished;
use crate::config::{Activation, LogLevel, Secret, Settings};
use crate::counters::{Counter, Counters};

const MS: u64 = 1_000_000;
/// How often a filter that cannot trace says so, and how often drops are reported.
const REMIND_NS: u64 = 60_000 * MS;
/// How long a root that ends may go on to send what it has.
const END_NS: u64 = 10_000 * MS;

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
    /// The host has started this root, and not made it anew.
    started: Cell<bool>,
    /// When it was first configured.
    configured_at: Cell<u64>,
    /// It has been decided whether it sets a timer.
    is_driven: Cell<bool>,
    has_timer: Cell<bool>,
    /// The period of its timer was changed to that of Envoy.
    is_fast: Cell<bool>,
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
            started: Cell::new(false),
            configured_at: Cell::new(0),
            is_driven: Cell::new(false),
            has_timer: Cell::new(false),
            is_fast: Cell::new(false),
            announce: Cell::new(false),
            last_reminder: Cell::new(0),
            drops_reported: Cell::new(0),
            on_disk_said: Cell::new(false),
            no_routes_said: Cell::new(false),
            ends_at: Cell::new(None),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// The host starts it.
    pub(super) fn start(&self) {
        self.started.set(true);
    }

    /// The host has started it; WasmX does not start a root that it makes anew.
    pub(super) fn was_started(&self) -> bool {
        self.started.get()
    }

    /// When it was first configured, nanoseconds since 1970; `now` at the latest.
    pub(super) fn configured_at(&self, now: u64) -> u64 {
        // A clock that was set back must not hold the root up.
        self.configured_at.set(self.configured_at.get().min(now));
        self.configured_at.get()
    }

    /// It has set a timer in this VM.
    pub(super) fn has_timer(&self) -> bool {
        self.has_timer.get()
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
            self.start_ticking(vm);
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
        let problems = projects.problems.join("; ");
        self.replace(Some(Active::new(vm, settings, projects, &self.counters)));
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

    fn start_ticking(&self, vm: &Vm) {
        if !self.is_driven.replace(true) {
            self.configured_at.set(hostcalls::now());
            self.has_timer.set(vm.clock.start(vm));
        }
    }

    /// Envoy's timers are ended with their roots, so there they may be fast.
    pub(super) fn speed_up(&self, vm: &Vm, period_ms: u32) {
        if vm.host() == HostKind::Envoy && !self.is_fast.replace(true) {
            hostcalls::set_tick_period(period_ms);
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
            && let Some(active) = active.as_mut()
            && active.offer(call, now)
        {
            return;
        }
        // Tracing was switched off, or set up anew, while the call passed: its project may be another one now.
        self.lost(Counter::DroppedShutdown);
    }

    /// A call was lost for that reason.
    pub(super) fn lost(&self, reason: Counter) {
        self.counters.add(Counter::Offered, 1);
        self.counters.add(reason, 1);
    }

    /// Says and sends what is due; a call is made only if one `may` be.
    pub(super) fn tick(&self, vm: &Vm, may_call: bool, now: u64) {
        if let Ok(mut active) = self.active.try_borrow_mut()
            && let Some(active) = active.as_mut()
        {
            // With a tick, not in on_configure, which runs for every request where WasmX isolates instances.
            if self.announce.replace(false) {
                // One that was made anew goes on where another was, which has said it all.
                if self.started.get() { active.announce() } else { active.resume() }
            }
            active.export(vm, may_call, now);
        }
        self.remind(now);
        vm.publish(&self.counters);
        if self.ends_at.get().is_some_and(|ends_at| self.is_drained() || now >= ends_at) {
            self.end(vm);
            hostcalls::done();
        }
    }

    /// A call of it is under way.
    pub(super) fn is_calling(&self) -> bool {
        self.active.try_borrow().is_ok_and(|active| active.as_ref().is_some_and(Active::is_calling))
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

    /// Takes an answer to an export call; false where the call is another root's.
    pub(super) fn call_answered(&self, vm: &Vm, token: u32, answer: &Answer, now: u64) -> bool {
        let active = self.active.try_borrow_mut();
        active.is_ok_and(|mut active| active.as_mut().is_some_and(|it| it.call_answered(vm, token, answer, now)))
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
        if let Ok(mut active) = self.active.try_borrow_mut()
            && let Some(active) = active.as_mut()
        {
            log::operator(&format!("ai-tracing: root context {} ends: sending {} traces", self.id, active.pending()));
            active.end(vm, now);
        }
        vm.publish(&self.counters);
        false
    }

    fn is_drained(&self) -> bool {
        let active = self.active.try_borrow();
        active.is_ok_and(|active| active.as_ref().is_none_or(Active::is_drained))
    }

    /// What is still here is lost, and counted.
    fn end(&self, vm: &Vm) {
        let pending = self.active.try_borrow().ok().and_then(|active| Some(active.as_ref()?.pending()));
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
