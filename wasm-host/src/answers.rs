//! HTTP calls of the filter that are under way, and their answers.

use crate::callout::{Answer, Callout, Reading, envoy_reading, wasmx_reading};
use crate::law::Rule;
use crate::personality::Kong;
use crate::phase::Phase;
use crate::state::Subject;
use crate::worker::Worker;

impl Worker {
    /// Calls of the filter that the host has under way.
    #[must_use]
    pub fn callouts(&self) -> Vec<Callout> {
        self.shared.borrow().callouts.clone()
    }

    /// Answers a call, as far as this host tells the filter of such an answer. Calls that are not under way any more
    /// are ignored.
    pub fn answer(&mut self, token: u32, answer: Answer) {
        let Some(at) = self.shared.borrow().callouts.iter().position(|call| call.token == token) else { return };
        if matches!(answer, Answer::Hangs) {
            self.shared.borrow_mut().callouts[at].deadline_ns = None;
            return;
        }
        let callout = self.shared.borrow_mut().callouts.remove(at);
        let silent = self.dead.is_some() || self.exiting || self.vm_failed;
        if callout.orphaned && !silent && !self.is_linked_again(&callout) {
            self.shared.borrow_mut().broke(Rule::PlanFreedUnderCall, &format!("call {token}"));
            self.dead = Some(Rule::PlanFreedUnderCall);
            return;
        }
        let Some(reading) = self.reading(answer).filter(|_| !silent) else { return };
        let mut owner = callout.owner;
        if callout.orphaned {
            owner.instance = self.main.unwrap_or(owner.instance);
        }
        if !self.instances[owner.instance].alive || self.is_over(owner.subject) {
            return;
        }
        let arguments = [token, reading.headers.len() as u32, reading.body.len() as u32, 0];
        self.shared.borrow_mut().reading = Some(reading);
        let outcome = self.run(owner, Phase::CallAnswer, &arguments);
        self.shared.borrow_mut().reading = None;
        self.note_envoy_failure(outcome.is_err());
        self.end_roots_that_are_done();
    }

    /// The timer of the root that made the call has ticked since the store was destroyed, before any request made another.
    fn is_linked_again(&self, callout: &Callout) -> bool {
        let state = self.shared.borrow();
        let root = &state.roots[callout.root];
        root.configured_in.is_some() && root.configured_in == self.main && root.current == callout.of
    }

    fn is_over(&self, subject: Subject) -> bool {
        let state = self.shared.borrow();
        match subject {
            Subject::Root(root) => state.roots[root].ended,
            Subject::Stream(stream) => state.streams[stream].over || state.streams[stream].detached,
        }
    }

    /// What the filter gets to read; none where the host says nothing.
    fn reading(&self, answer: Answer) -> Option<Reading> {
        let state = self.shared.borrow();
        let wasmx = state.wasmx();
        match answer {
            Answer::Response { status, headers, body } => {
                let status = status.map(|status| (":status".to_owned(), status.into_bytes()));
                let headers = status.into_iter().chain(headers).collect();
                Some(Reading { headers, body, dispatch_status: wasmx.map(|_| "ok") })
            }
            Answer::Failed(failure) => match wasmx {
                Some(wasmx) if wasmx.version() < Kong::V3_9 => None,
                Some(_) => Some(wasmx_reading(failure)),
                None => Some(envoy_reading(failure)),
            },
            Answer::Hangs => None,
        }
    }
}
