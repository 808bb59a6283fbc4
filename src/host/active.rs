//! What a root that traces works with: its settings, and the export of its traces.

use std::rc::Rc;

use super::callout::{Answer, Caller};
use super::log;
use super::notes::Notes;
use super::vm::{HostKind, Vm};
use crate::call::Finished;
use crate::config::{Projects, Settings};
use crate::counters::Counters;
use crate::export::otlp::Resource;
use crate::export::{Exporter, Lane, Note, Step};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Active {
    pub settings: Rc<Settings>,
    projects: Projects,
    exporter: Exporter,
    caller: Caller,
    notes: Notes,
}

impl Active {
    pub(super) fn new(vm: &Vm, settings: Settings, projects: Projects, counters: &Rc<Counters>) -> Self {
        let timeout_ms = projects.targets.iter().map(|target| target.timeout_ms).max().unwrap_or_default();
        let budget = &vm.shared.budget;
        let count = projects.targets.len();
        let limits = settings.export.shared_by(count, settings.memory_budget);
        let lanes =
            projects.targets.iter().map(|target| Lane::new(limits, target.protocol, budget, counters)).collect();
        let exporter = Exporter::new(lanes, timeout_ms);
        let (caller, notes) = (Caller::new(count), Notes::new(count));
        Self { settings: Rc::new(settings), projects, exporter, caller, notes }
    }

    /// Says where traces go.
    pub(super) fn announce(&self) {
        for target in &self.projects.targets {
            let version = env!("CARGO_PKG_VERSION");
            log::operator(&format!("ai-tracing {version}: tracing to {}", target.endpoint.server()));
        }
    }

    /// Goes on where another instance of the root has been: what is well need not be tried and said again.
    pub(super) fn resume(&mut self) {
        self.exporter.resume();
    }

    /// Takes a call that is over; false where it began under other settings, whose projects may have been others.
    pub(super) fn offer(&mut self, call: Finished, now: u64) -> bool {
        Rc::ptr_eq(&self.settings, &call.settings) && self.exporter.offer(call.project, call.span, now)
    }

    /// Runs the export; a call is made only if one `may` be.
    pub(super) fn export(&mut self, vm: &Vm, may_call: bool, now: u64) {
        self.notes.is_shared = vm.host() == HostKind::Envoy;
        self.notes.catch_up(&self.projects.targets, self.settings.log_level, now);
        let service_name = if vm.host() == HostKind::WasmX { "kong" } else { "envoy" };
        let resource = Resource { service_name };
        let said = match self.exporter.poll(now, may_call, resource) {
            Step::Wait => return,
            Step::Say(lane, note) => Some((lane, note)),
            Step::Call(call) => {
                let Some(target) = self.projects.targets.get(call.lane) else { return };
                let outcome = match self.caller.refusal(vm, call.lane, target) {
                    // Not known yet to be Envoy, where any name may be a cluster: waits for the first request to tell.
                    Some(_) if vm.host() == HostKind::Unknown => return,
                    Some(why) => Err(why),
                    None => self.caller.call(target, &call),
                };
                self.exporter.dispatched(now, call.lane, outcome).map(|note| (call.lane, note))
            }
        };
        self.say(said, now);
    }

    /// Takes an answer to an export call; false where the call is another root's.
    pub(super) fn call_answered(&mut self, vm: &Vm, token: u32, answer: &Answer, now: u64) -> bool {
        let Some(took) = self.exporter.call_age(token, now) else { return false };
        vm.measures.export(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let said = self.exporter.answered(now, token, &answer.as_reply());
        self.say(said, now);
        true
    }

    fn say(&mut self, said: Option<(usize, Note)>, now: u64) {
        if let Some((lane, note)) = said
            && let Some(target) = self.projects.targets.get(lane)
        {
            self.notes.log(note, lane, target, self.settings.log_level, now);
        }
    }

    /// A call is under way.
    pub(super) fn is_calling(&self) -> bool {
        self.exporter.is_calling()
    }

    /// Traces that are queued or being sent.
    pub(super) fn pending(&self) -> usize {
        self.exporter.pending()
    }

    /// Nothing is queued, being sent, or under way.
    pub(super) fn is_drained(&self) -> bool {
        self.exporter.is_drained()
    }

    /// The gateway is about to end, and is Envoy: calls at once for each project, because on SIGTERM nothing comes after.
    pub(super) fn end(&mut self, vm: &Vm, now: u64) {
        self.exporter.end();
        (0..self.projects.targets.len()).for_each(|_| self.export(vm, true, now));
    }
}
