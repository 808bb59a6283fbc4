//! The state machine of the export. Time, answers and randomness come in as arguments; calls and notes go out as values.

use std::rc::Rc;
use std::time::Duration;

use super::otlp::{Resource, encode_batch};
use super::queue::Queue;
use super::verdict::{Reply, Verdict, verdict};
use crate::budget::Budget;
use crate::config::ExportLimits;
use crate::counters::{Counter, Counters};

/// First and longest wait after a failure, milliseconds.
const BACKOFF_MS: (u64, u64) = (1000, 60_000);
/// Wait between two tries with wrong keys or a wrong address, milliseconds.
const PROBE_MS: u64 = 60_000;
/// A host that never answers (WasmX up to Kong 3.8) is given up on after this many call timeouts, because a timeout
/// counts for connecting, sending and each read, and the time that finding the host's address may take. Two calls at
/// once would cost a WasmX worker connections, so this is long.
const DEADLINE: (u64, u64) = (4, 60_000);

/// What to do at a tick.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Make a call with this body; it is empty for the self check.
    Call(Vec<u8>),
    /// Nothing but to say this.
    Say(Note),
}

/// Why the host did not make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCalled {
    /// There is no such cluster, or the address is not valid.
    NoUpstream,
    /// Not now.
    NotNow,
}

/// Something an operator may want to know; the caller words and rates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// First success, or the first after failures.
    Connected,
    /// Langfuse refuses the keys.
    WrongKeys(u16),
    /// There is no OTLP receiver at the address.
    WrongAddress(u16),
    /// No answer, or one that asks to try again.
    Unreachable(Option<u16>),
    /// The host cannot make the call at all: there is no such cluster, or the address is not valid.
    NoUpstream,
    /// The host could not make the call now: no healthy host in the cluster.
    CannotCall,
    /// A batch was refused for good.
    Refused(u16),
}

#[derive(Debug)]
enum State {
    /// Nothing under way; the next call may be made at this time.
    Idle { not_before: u64 },
    /// A call is under way.
    InFlight { token: u32, deadline: u64 },
}

/// Spans that are being sent.
#[derive(Debug)]
struct Batch {
    spans: Vec<Vec<u8>>,
    /// When it was first tried.
    since: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Exporter {
    queue: Queue,
    retry_age_ms: u64,
    timeout_ms: u64,
    counters: Rc<Counters>,
    state: State,
    batch: Option<Batch>,
    /// The second half of a batch that was too large.
    rest: Vec<Batch>,
    failures: u32,
    /// Nothing has been answered yet: the first call asks only whether Langfuse is there.
    checked: bool,
    /// The last thing said, so that it is said once.
    said: Option<Note>,
}

impl Exporter {
    /// An exporter whose calls time out after `timeout_ms`.
    #[must_use]
    pub fn new(limits: ExportLimits, timeout_ms: u32, budget: &Rc<Budget>, counters: &Rc<Counters>) -> Self {
        Self {
            queue: Queue::new(limits, budget),
            retry_age_ms: limits.retry_age_ms,
            timeout_ms: u64::from(timeout_ms),
            counters: Rc::clone(counters),
            state: State::Idle { not_before: 0 },
            batch: None,
            rest: Vec::new(),
            failures: 0,
            checked: false,
            said: None,
        }
    }

    /// Takes a span.
    pub fn offer(&mut self, span: Vec<u8>, now: u64) {
        self.counters.add(Counter::Offered, 1);
        self.queue.push(span, now, &self.counters);
    }

    /// Traces that are queued or being sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        let spans = |batch: &Batch| batch.spans.len();
        self.queue.len() + self.batch.iter().chain(&self.rest).map(spans).sum::<usize>()
    }

    /// What to do now. After [`Step::Call`], tell the outcome with [`Exporter::dispatched`].
    pub fn poll(&mut self, now: u64, resource: Resource<'_>) -> Step {
        match self.state {
            State::InFlight { token, deadline } if now < deadline => {
                // A clock that was set back must not hold the next call up for ever.
                self.state = State::InFlight { token, deadline: deadline.min(now.saturating_add(self.deadline_ns())) };
                Step::Wait
            }
            // Never answered.
            State::InFlight { .. } => self.fail(now, None, None).map_or(Step::Wait, Step::Say),
            State::Idle { not_before } if now < not_before && not_before - now <= MAX_WAIT_NS => Step::Wait,
            State::Idle { .. } if !self.checked => Step::Call(Vec::new()),
            State::Idle { .. } => {
                self.next_batch(now).map_or(Step::Wait, |spans| Step::Call(encode_batch(resource, spans)))
            }
        }
    }

    /// The batch to send: one that was not taken yet, else a new one where it is due.
    fn next_batch(&mut self, now: u64) -> Option<&[Vec<u8>]> {
        if self.batch.is_none() {
            self.batch = self.rest.pop();
        }
        if self.batch.is_none() && self.queue.is_due(now) {
            let spans = self.queue.take_batch();
            self.batch = (!spans.is_empty()).then_some(Batch { spans, since: now });
        }
        self.batch.as_ref().map(|batch| batch.spans.as_slice())
    }

    fn deadline_ns(&self) -> u64 {
        self.timeout_ms.saturating_mul(DEADLINE.0).saturating_add(DEADLINE.1).saturating_mul(1_000_000)
    }

    /// The host has made the call of [`Step::Call`] (and gave it `token`), or could not.
    pub fn dispatched(&mut self, now: u64, outcome: Result<u32, NotCalled>) -> Option<Note> {
        let refused = match outcome {
            Ok(token) => {
                self.state = State::InFlight { token, deadline: now.saturating_add(self.deadline_ns()) };
                return None;
            }
            Err(refused) => refused,
        };
        self.counters.add(Counter::ExportNotCalled, 1);
        self.backoff(now, None);
        self.expire(now);
        self.say(match refused {
            NotCalled::NoUpstream => Note::NoUpstream,
            NotCalled::NotNow => Note::CannotCall,
        })
    }

    /// An answer to the call `token` has come; one to another call is ignored.
    pub fn answered(&mut self, now: u64, token: u32, reply: Reply) -> Option<Note> {
        match self.state {
            State::InFlight { token: awaited, .. } if awaited == token => {}
            _ => return None,
        }
        self.state = State::Idle { not_before: 0 };
        let status = reply.status.unwrap_or_default();
        match verdict(reply) {
            Verdict::Done => self.succeed(),
            Verdict::Retry(after) => return self.fail(now, reply.status, after),
            Verdict::WrongKeys => return self.probe_later(now, Note::WrongKeys(status)),
            Verdict::WrongAddress => return self.probe_later(now, Note::WrongAddress(status)),
            Verdict::Split => self.split(now),
            Verdict::Drop => {
                self.counters.add(Counter::ExportRefused, 1);
                self.drop_batch(Counter::DroppedRejected);
                (self.checked, self.failures) = (true, 0);
                // It says nothing of the connection, so the next success is no news.
                return Some(Note::Refused(status));
            }
        }
        (self.checked, self.failures) = (true, 0);
        self.say(Note::Connected)
    }

    /// What is wrong will not be right in a second: asks again slowly, and keeps what it has.
    fn probe_later(&mut self, now: u64, note: Note) -> Option<Note> {
        self.counters.add(Counter::ExportRefused, 1);
        self.state = State::Idle { not_before: now.saturating_add(PROBE_MS * 1_000_000) };
        self.expire(now);
        self.say(note)
    }

    fn succeed(&mut self) {
        self.counters.add(Counter::ExportOk, 1);
        if let Some(batch) = self.batch.take() {
            self.counters.add(Counter::Sent, batch.spans.len() as u64);
            self.queue.release(&batch.spans);
        }
    }

    fn fail(&mut self, now: u64, status: Option<u16>, after: Option<Duration>) -> Option<Note> {
        self.counters.add(Counter::ExportRetried, 1);
        let after = after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.backoff(now, after);
        self.expire(now);
        self.say(Note::Unreachable(status))
    }

    /// Waits twice as long after each failure, with up to a quarter of jitter so that workers do not call in step.
    fn backoff(&mut self, now: u64, at_least_ms: Option<u64>) {
        let doubled = BACKOFF_MS.0.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MS.1);
        self.failures = self.failures.saturating_add(1);
        let jitter = (now / 1000).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let wait = doubled.max(at_least_ms.unwrap_or(0)) + jitter % (doubled / 4 + 1);
        self.state = State::Idle { not_before: now.saturating_add(wait * 1_000_000) };
    }

    /// Drops the batch once it has been tried for as long as it may be.
    fn expire(&mut self, now: u64) {
        let age_ms = |batch: &Batch| now.saturating_sub(batch.since) / 1_000_000;
        if self.batch.as_ref().is_some_and(|batch| age_ms(batch) >= self.retry_age_ms) {
            self.drop_batch(Counter::DroppedExpired);
        }
    }

    fn drop_batch(&mut self, reason: Counter) {
        if let Some(batch) = self.batch.take() {
            self.counters.add(reason, batch.spans.len() as u64);
            self.queue.release(&batch.spans);
        }
    }

    fn split(&mut self, now: u64) {
        self.counters.add(Counter::ExportRefused, 1);
        let Some(batch) = self.batch.as_mut() else { return };
        if batch.spans.len() < 2 {
            return self.drop_batch(Counter::DroppedTooLarge);
        }
        let second = batch.spans.split_off(batch.spans.len() / 2);
        self.rest.push(Batch { spans: second, since: now });
    }

    fn say(&mut self, note: Note) -> Option<Note> {
        (self.said.replace(note) != Some(note)).then_some(note)
    }
}

/// No wait is longer: a "not before" beyond it comes from a clock that was set back.
const MAX_WAIT_NS: u64 = 600 * 1_000_000_000;

impl Drop for Exporter {
    fn drop(&mut self) {
        self.counters.add(Counter::DroppedShutdown, self.pending() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const RESOURCE: Resource<'static> = Resource { service_name: "envoy", environment: "test" };
    const LIMITS: ExportLimits = ExportLimits {
        queue_items: 6,
        queue_bytes: 1000,
        batch_items: 3,
        batch_bytes: 400,
        batch_age_ms: 100,
        retry_age_ms: 100_000,
    };

    struct Rig {
        exporter: Exporter,
        counters: Rc<Counters>,
        now: u64,
        token: u32,
    }

    impl Rig {
        fn new(memory: usize) -> Self {
            let counters = Rc::new(Counters::default());
            let exporter = Exporter::new(LIMITS, 1000, &Budget::new(memory), &counters);
            Self { exporter, counters, now: 1_000_000 * MS, token: 0 }
        }

        fn checked() -> Self {
            let mut rig = Self::new(1 << 20);
            assert_eq!(rig.call().as_deref(), Some(&[][..]), "the first call is the self check");
            assert_eq!(rig.reply(Some(200)), Some(Note::Connected));
            rig
        }

        fn offer(&mut self, size: usize) {
            self.exporter.offer(vec![7; size], self.now);
        }

        fn call(&mut self) -> Option<Vec<u8>> {
            let Step::Call(body) = self.exporter.poll(self.now, RESOURCE) else { return None };
            self.token += 1;
            assert_eq!(self.exporter.dispatched(self.now, Ok(self.token)), None);
            Some(body)
        }

        fn reply(&mut self, status: Option<u16>) -> Option<Note> {
            self.exporter.answered(self.now, self.token, Reply { status, retry_after: None })
        }

        fn pass(&mut self, ms: u64) {
            self.now += ms * MS;
        }

        fn count(&self, counter: Counter) -> u64 {
            self.counters.get(counter)
        }

        fn balance(&self) {
            let accounted = self.count(Counter::Sent) + self.counters.dropped() + self.exporter.pending() as u64;
            assert_eq!(self.count(Counter::Offered), accounted);
        }
    }

    #[test]
    fn a_batch_is_sent_when_it_is_full_or_old_enough() {
        let mut rig = Rig::checked();
        rig.offer(10);
        assert_eq!(rig.call(), None);
        rig.pass(100);
        assert!(rig.call().is_some());
        rig.reply(Some(200));
        (0..3).for_each(|_| rig.offer(10));
        assert!(rig.call().is_some(), "by items");
        rig.reply(Some(200));
        rig.offer(400);
        assert!(rig.call().is_some(), "by bytes");
        assert_eq!(rig.call(), None, "one call at a time");
        rig.reply(Some(200));
        assert_eq!(rig.count(Counter::Sent), 5);
        rig.balance();
    }

    #[test]
    fn a_failed_batch_is_sent_again_with_the_same_bytes_after_a_backoff() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        let first = rig.call();
        assert_eq!(rig.reply(Some(503)), Some(Note::Unreachable(Some(503))));
        rig.pass(900);
        assert_eq!(rig.call(), None);
        rig.pass(400);
        rig.offer(20);
        assert_eq!(rig.call(), first);
        assert_eq!(rig.reply(Some(503)), None, "said once");
        rig.pass(1900);
        assert_eq!(rig.call(), None, "twice as long");
        rig.pass(700);
        assert_eq!(rig.call(), first);
        assert_eq!(rig.reply(Some(200)), Some(Note::Connected));
        rig.balance();
    }

    #[test]
    fn retry_after_is_waited_for() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        rig.call().unwrap();
        let reply = Reply { status: Some(429), retry_after: Some(Duration::from_secs(4)) };
        rig.exporter.answered(rig.now, rig.token, reply);
        rig.pass(3999);
        assert_eq!(rig.call(), None);
        rig.pass(300);
        assert!(rig.call().is_some());
    }

    #[test]
    fn a_batch_expires_and_is_counted() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        for _ in 0..200 {
            if rig.call().is_some() {
                rig.reply(None);
            }
            rig.pass(1000);
        }
        assert_eq!((rig.count(Counter::DroppedExpired), rig.exporter.pending()), (1, 0));
        rig.balance();
    }

    #[test]
    fn a_host_that_never_answers_is_given_up_on() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        rig.call().unwrap();
        rig.pass(63_999);
        assert_eq!(rig.call(), None);
        rig.pass(1);
        let said = rig.exporter.poll(rig.now, RESOURCE);
        assert_eq!(said, Step::Say(Note::Unreachable(None)), "the deadline has passed; now the backoff counts");
        rig.pass(1300);
        let late = rig.token;
        assert!(rig.call().is_some());
        assert_eq!(rig.exporter.answered(rig.now, late, Reply { status: Some(200), retry_after: None }), None);
        assert_eq!(rig.count(Counter::Sent), 0, "an answer to an old call counts for nothing");
        rig.balance();
    }

    #[test]
    fn wrong_keys_are_asked_about_slowly_and_recover() {
        let mut rig = Rig::new(1 << 20);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(401)), Some(Note::WrongKeys(401)));
        rig.offer(10);
        rig.pass(59_000);
        assert_eq!(rig.call(), None);
        rig.pass(1001);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(200)), Some(Note::Connected));
        assert!(rig.call().is_some());
        rig.reply(Some(200));
        assert_eq!(rig.count(Counter::Sent), 1);
    }

    #[test]
    fn a_wrong_address_keeps_the_traces_and_is_asked_about_slowly() {
        let mut rig = Rig::new(1 << 20);
        rig.offer(10);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(404)), Some(Note::WrongAddress(404)));
        rig.pass(59_000);
        assert_eq!((rig.call(), rig.exporter.pending()), (None, 1));
        rig.pass(1001);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(200)), Some(Note::Connected));
    }

    #[test]
    fn too_large_is_split_until_the_one_that_is_too_large_is_alone() {
        let mut rig = Rig::checked();
        (0..3).for_each(|_| rig.offer(10));
        let (mut calls, mut sent) = (0, Vec::new());
        while let Some(body) = rig.call() {
            calls += 1;
            let too_large = body.len() > 120;
            rig.reply(Some(if too_large { 413 } else { 200 }));
            sent.push(too_large);
        }
        assert!(calls >= 3 && sent.iter().any(|too_large| *too_large), "{sent:?}");
        assert_eq!((rig.count(Counter::Sent) + rig.counters.dropped(), rig.exporter.pending()), (3, 0));
        rig.offer(100);
        rig.pass(100);
        rig.call().unwrap();
        rig.reply(Some(413));
        assert_eq!(rig.count(Counter::DroppedTooLarge), 1);
        rig.balance();
    }

    #[test]
    fn refused_batches_and_calls_that_cannot_be_made_are_counted_or_kept() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(400)), Some(Note::Refused(400)));
        rig.offer(10);
        rig.pass(100);
        rig.call().unwrap();
        assert_eq!(rig.reply(Some(200)), None, "it was connected all the time");
        assert_eq!(rig.count(Counter::DroppedRejected), 1);
        rig.offer(10);
        rig.pass(100);
        assert!(matches!(rig.exporter.poll(rig.now, RESOURCE), Step::Call(_)));
        assert_eq!(rig.exporter.dispatched(rig.now, Err(NotCalled::NoUpstream)), Some(Note::NoUpstream));
        assert_eq!((rig.call(), rig.exporter.pending()), (None, 1));
        rig.balance();
    }

    #[test]
    fn the_oldest_makes_room_at_every_cap() {
        let mut rig = Rig::checked();
        (0..8).for_each(|_| rig.offer(10));
        assert_eq!((rig.exporter.pending(), rig.count(Counter::DroppedQueueFull)), (6, 2), "by items");
        rig.offer(995);
        assert_eq!((rig.exporter.pending(), rig.count(Counter::DroppedQueueFull)), (1, 8), "by bytes");
        rig.offer(1001);
        assert_eq!((rig.exporter.pending(), rig.count(Counter::DroppedTooLarge)), (1, 1), "it pushes nothing out");
        let mut rig = Rig::new(100);
        (0..4).for_each(|_| rig.offer(40));
        assert_eq!((rig.exporter.pending(), rig.count(Counter::DroppedMemory)), (2, 2), "by the VM's budget");
        rig.balance();
    }

    #[test]
    fn what_is_pending_at_the_end_is_counted() {
        let rig = Rig::new(1 << 20);
        let counters = Rc::clone(&rig.counters);
        let mut exporter = rig.exporter;
        exporter.offer(vec![1], 0);
        drop(exporter);
        assert_eq!(counters.get(Counter::DroppedShutdown), 1);
    }

    proptest! {
        #[test]
        fn the_account_always_balances(steps in prop::collection::vec((0..6_u8, 0..400_u64, prop::option::of(prop::sample::select(vec![200_u16, 401, 413, 400, 503]))), 1..120)) {
            let mut rig = Rig::new(1500);
            for (step, amount, status) in steps {
                match step {
                    0 | 1 => rig.offer(usize::try_from(amount).unwrap()),
                    2 => { rig.call(); }
                    3 => { rig.reply(status); }
                    4 => rig.pass(amount * 20),
                    _ => rig.now = rig.now.saturating_sub(amount * MS),
                }
                rig.balance();
                prop_assert!(rig.exporter.queue.len() <= LIMITS.queue_items);
            }
        }
    }
}
