//! What a test may ask of a worker, and how it makes host calls fail.

use std::collections::BTreeMap;

use crate::law::{Rule, Violation};
use crate::log::{Author, LogLine};
use crate::worker::Worker;

impl Worker {
    /// Answers host calls in the host's place: `decide` gets how many calls of that name there were, from 1, and gives
    /// the status, or none to have the call carried out. Out-parameters are left alone (see [`Worker::garbage`]).
    pub fn host_call_answers(&mut self, call: &str, decide: impl FnMut(u32) -> Option<u32> + 'static) {
        self.shared.borrow_mut().chaos.set(call, Box::new(decide));
    }

    /// Carries all host calls out again.
    pub fn host_calls_work_again(&mut self) {
        self.shared.borrow_mut().chaos.clear();
    }

    /// Host calls that [`Worker::host_call_answers`] fails leave garbage in their out-parameters.
    pub fn garbage(&mut self, garbage: bool) {
        self.shared.borrow_mut().chaos.garbage = garbage;
    }

    /// How often the filter has made a host call.
    #[must_use]
    pub fn host_calls(&self, call: &str) -> u32 {
        self.shared.borrow().chaos.made(call)
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.shared.borrow().log.clone()
    }

    /// What the filter has logged, line by line.
    #[must_use]
    pub fn filter_log(&self) -> Vec<String> {
        let by_filter = |line: LogLine| (line.author != Author::Host).then_some(line.text);
        self.log().into_iter().filter_map(by_filter).collect()
    }

    /// Metrics by name.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.shared.borrow().metrics.values()
    }

    /// Size of the instance's memory; 0 where there is none.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.main.map_or(0, |main| self.instances[main].memory_bytes())
    }

    /// How many instances were made so far.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// Timers of a root: more than one after traps on WasmX.
    #[must_use]
    pub fn timers(&self, root: usize) -> usize {
        self.shared.borrow().roots[root].timers.len()
    }

    /// The root has ended, after `on_done` and `on_delete`.
    #[must_use]
    pub fn has_ended(&self, root: usize) -> bool {
        self.shared.borrow().roots[root].ended
    }

    /// Connections of the worker that are lost.
    #[must_use]
    pub fn leaked_connections(&self) -> usize {
        self.shared.borrow().leaked
    }

    /// The rule by which the worker's process died.
    #[must_use]
    pub fn crashed(&self) -> Option<Rule> {
        self.dead
    }

    /// Rules broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.borrow().violations.clone()
    }

    /// Takes the broken rules: they do not fail the test any more.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.shared.borrow_mut().violations)
    }

    /// Fails the test where a rule was broken.
    #[track_caller]
    pub fn assert_healthy(&self) {
        let violations = self.take_violations();
        let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
        let host = self.shared.borrow().personality.name();
        assert!(lines.is_empty(), "{} rules of {host} broken:\n{}", lines.len(), lines.join("\n"));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_healthy();
        }
    }
}
