//! The way to one Langfuse project: its queue, what is being sent, and how its server has behaved. Lanes share one call
//! slot ([`super::Exporter`]), in which a failed call makes its lane wait as long as it took, and the VM's memory, of which
//! each has its share ([`ExportLimits::shared_by`]).

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::api::{Api, ApiChoice};
use super::ingestion::{self, Dialect, Item};
use super::note::{NotCalled, Note};
use super::otlp::{self, Resource};
use super::queue::Queue;
use super::verdict::{Cause, Reply, Verdict, backoff, verdict};
use crate::budget::Budget;
use crate::config::{ExportLimits, Protocol};
use crate::counters::{Counter, Counters};

/// Wait between two tries with wrong keys or a wrong address.
const PROBE: Duration = Duration::from_secs(60);
/// No wait is longer: a "not before" beyond it comes from a clock that was set back.
const WAIT_MAX_NS: u64 = 600 * 1_000_000_000;
/// Refusals in a row without one success, after which a refused batch is dropped whole instead of being searched for its
/// bad span: 4000 spans are halved 12 times.
const REFUSALS_MAX: u32 = 24;

/// Spans that are sent together.
#[derive(Debug)]
struct Batch {
    spans: Vec<Vec<u8>>,
    /// When it was first tried.
    since: u64,
    /// The server took others of its batch: they need not wait for these.
    aside: bool,
}

/// What the call under way asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether the server is there and takes the keys; stores nothing.
    Check(Api),
    /// To take the first batch.
    Batch(Api),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Lane {
    queue: Queue,
    retry_age_ms: u64,
    counters: Rc<Counters>,
    api: ApiChoice,
    dialect: Dialect,
    /// Batches that were tried or cut off one that was; the first is sent next.
    batches: VecDeque<Batch>,
    /// Spans that a server which took others wants to be asked for again, and not before when: they wait beside the queue.
    held: Option<(Batch, u64)>,
    asked: Asked,
    not_before: u64,
    /// Failures since the last success.
    failures: u32,
    /// Refusals since the last success.
    refusals: u32,
    /// Nothing has been answered yet: the first call asks only whether Langfuse is there.
    checked: bool,
    /// The last thing said, so that it is said once.
    said: Option<Note>,
}

impl Lane {
    /// A lane with nothing in it.
    #[must_use]
    pub fn new(limits: ExportLimits, protocol: Protocol, budget: &Rc<Budget>, counters: &Rc<Counters>) -> Self {
        let api = ApiChoice::new(protocol);
        Self {
            queue: Queue::new(limits, budget),
            retry_age_ms: limits.retry_age_ms,
            counters: Rc::clone(counters),
            asked: Asked::Check(api.current()),
            api,
            dialect: Dialect::default(),
            batches: VecDeque::new(),
            held: None,
            not_before: 0,
            failures: 0,
            refusals: 0,
            checked: false,
            said: None,
        }
    }

    pub(super) fn offer(&mut self, span: Vec<u8>, now: u64) {
        self.counters.add(Counter::Offered, 1);
        self.queue.push(span, now, &self.counters);
    }

    /// Traces that are queued or being sent.
    pub(super) fn pending(&self) -> usize {
        let held = self.held.iter().map(|(batch, _)| batch);
        self.queue.len() + self.batches.iter().chain(held).map(|batch| batch.spans.len()).sum::<usize>()
    }

    /// From now on everything is due, also after a failure.
    pub(super) fn end(&mut self) {
        self.queue.end();
        (self.not_before, self.checked) = (0, true);
        if let Some((_, not_before)) = &mut self.held {
            *not_before = 0;
        }
    }

    /// Another lane has called this server before: it needs no check, and its success is no news.
    pub(super) fn resume(&mut self) {
        self.checked = true;
        self.said.get_or_insert(Note::Connected(self.api.current()));
    }

    /// The call that is due now: its API and body.
    pub(super) fn next_call(&mut self, now: u64, resource: Resource<'_>) -> Option<(Api, Vec<u8>)> {
        if now < self.not_before && self.not_before - now <= WAIT_MAX_NS {
            return None;
        }
        if !self.checked {
            return Some(self.check(self.api.current()));
        }
        if self.api.is_probe_due(now) {
            return Some(self.check(Api::Otlp));
        }
        if self.batches.is_empty()
            && let Some((batch, _)) = self.held.take_if(|(_, not_before)| now >= *not_before)
        {
            self.batches.push_back(batch);
        }
        if self.batches.is_empty() && self.queue.is_due(now) {
            self.batches.push_back(Batch { spans: self.queue.take_batch(), since: now, aside: false });
        }
        let api = self.api.current();
        let batch = self.batches.front_mut()?;
        let body = match api {
            Api::Otlp => otlp::encode_batch(resource, &batch.spans),
            Api::Ingestion => {
                let encoded = ingestion::encode_batch(&batch.spans, self.dialect, ingestion::BODY_MAX);
                let rest = batch.spans.split_off(encoded.spans.min(batch.spans.len()));
                if !rest.is_empty() {
                    let (since, aside) = (batch.since, batch.aside);
                    self.batches.insert(1, Batch { spans: rest, since, aside });
                }
                encoded.body
            }
        };
        self.asked = Asked::Batch(api);
        Some((api, body))
    }

    fn check(&mut self, api: Api) -> (Api, Vec<u8>) {
        self.asked = Asked::Check(api);
        let body = match api {
            // No spans at all.
            Api::Otlp => Vec::new(),
            Api::Ingestion => ingestion::encode_batch(&[], self.dialect, ingestion::BODY_MAX).body,
        };
        (api, body)
    }

    /// The host did not make the call.
    pub(super) fn not_called(&mut self, now: u64, why: NotCalled) -> Option<Note> {
        self.counters.add(Counter::ExportNotCalled, 1);
        self.wait(now, backoff(self.failures, now));
        self.say(match why {
            NotCalled::NoUpstream => Note::NoUpstream,
            NotCalled::TlsToAddress => Note::TlsToAddress,
            NotCalled::NotNow => Note::CannotCall,
        })
    }

    /// The call was answered (or was not), after it had held the slot for `took`.
    pub(super) fn answered(&mut self, now: u64, took: Duration, reply: &Reply<'_>) -> Option<Note> {
        let status = reply.status.unwrap_or_default();
        if self.asked == Asked::Check(Api::Otlp) && self.api.current() == Api::Ingestion {
            return self.looked_for_otlp(now, reply);
        }
        match verdict(reply, self.failures, now) {
            Verdict::Done | Verdict::DoneBut(_) if self.asked == Asked::Batch(Api::Ingestion) => self.items(now, reply),
            // A page that something else shows at this address.
            Verdict::Done
                if self.asked == Asked::Check(Api::Ingestion) && !ingestion::read_reply(reply.body, &[]).readable =>
            {
                self.no_such_api(now, Note::WrongAddress(status))
            }
            Verdict::Done => self.succeed(0),
            Verdict::DoneBut(rejected) => self.succeed(rejected),
            // Half of the slot's time at the most is for one that fails.
            Verdict::Retry(wait, cause) => self.retry(now, wait.max(took), cause),
            Verdict::WrongKeys => self.ask_slowly(now, Note::WrongKeys(status)),
            Verdict::NoSuchApi => self.no_such_api(now, Note::WrongAddress(status)),
            Verdict::TooLarge => self.refused(status, Counter::DroppedTooLarge),
            Verdict::Refused => self.refused(status, Counter::DroppedRejected),
        }
    }

    /// The hourly look for OTLP: whatever comes instead of a yes, all stays as it is.
    fn looked_for_otlp(&mut self, now: u64, reply: &Reply<'_>) -> Option<Note> {
        if verdict(reply, 0, now) != Verdict::Done {
            self.counters.add(Counter::ExportRefused, 1);
            return None;
        }
        self.counters.add(Counter::ExportOk, 1);
        self.api.has_otlp(now);
        self.say(Note::UsingOtlp)
    }

    /// Langfuse has taken the batch, all but `rejected` of its spans.
    fn succeed(&mut self, rejected: u64) -> Option<Note> {
        self.counters.add(Counter::ExportOk, 1);
        (self.checked, self.failures, self.refusals) = (true, 0, 0);
        self.api.works();
        if matches!(self.asked, Asked::Batch(_))
            && let Some(batch) = self.batches.pop_front()
        {
            let spans = batch.spans.len() as u64;
            let rejected = rejected.min(spans);
            self.counters.add(Counter::Sent, spans - rejected);
            self.counters.add(Counter::DroppedRejected, rejected);
            self.queue.release(&batch.spans);
        }
        if rejected > 0 {
            return Some(Note::Refused(200));
        }
        self.say(Note::Connected(self.api.current()))
    }

    /// The ingestion API answers for each trace.
    fn items(&mut self, now: u64, reply: &Reply<'_>) -> Option<Note> {
        let batch = self.batches.pop_front()?;
        let answer = ingestion::read_reply(reply.body, &batch.spans);
        if answer.not_accepted {
            self.batches.push_front(batch);
            return self.no_such_api(now, Note::IngestionRefused);
        }
        // Another dialect is tried at once, and once.
        let other_dialect = answer.unknown_type && std::mem::replace(&mut self.dialect.embedding, false);
        let (mut again, mut gone) = (Vec::new(), Vec::new());
        let (mut taken, mut refused) = (0, 0);
        for (span, item) in batch.spans.into_iter().zip(answer.items) {
            match item {
                Item::Retry => again.push(span),
                Item::Taken | Item::Refused => {
                    *(if item == Item::Taken { &mut taken } else { &mut refused }) += 1;
                    gone.push(span);
                }
            }
        }
        self.queue.release(&gone);
        self.counters.add(Counter::Sent, taken);
        self.counters.add(Counter::DroppedRejected, refused);
        (self.checked, self.refusals) = (true, 0);
        self.api.works();
        if taken > 0 || again.is_empty() {
            self.failures = 0;
        }
        if again.is_empty() {
            self.counters.add(Counter::ExportOk, 1);
        } else {
            self.counters.add(Counter::ExportRetried, 1);
            let aside = !other_dialect && (taken > 0 || batch.aside);
            let again = Batch { spans: again, since: batch.since, aside };
            if aside {
                self.hold(again, now);
            } else {
                self.batches.push_front(again);
                self.wait(now, if other_dialect { Duration::ZERO } else { backoff(self.failures, now) });
            }
        }
        if refused > 0 { Some(Note::Refused(207)) } else { self.say(Note::Connected(Api::Ingestion)) }
    }

    /// The server is well but for these: the queue need not wait for them.
    fn hold(&mut self, mut again: Batch, now: u64) {
        if let Some((held, _)) = self.held.take() {
            again.since = again.since.min(held.since);
            again.spans.extend(held.spans);
        }
        let tries = u32::try_from(now.saturating_sub(again.since) / 1_000_000_000).unwrap_or(u32::MAX);
        let wait = u64::try_from(backoff(tries.checked_ilog2().unwrap_or(0), now).as_nanos()).unwrap_or(u64::MAX);
        if now.saturating_sub(again.since) / 1_000_000 >= self.retry_age_ms {
            self.counters.add(Counter::DroppedExpired, again.spans.len() as u64);
            self.queue.release(&again.spans);
        } else {
            self.held = Some((again, now.saturating_add(wait)));
        }
    }

    fn retry(&mut self, now: u64, wait: Duration, cause: Cause) -> Option<Note> {
        self.counters.add(Counter::ExportRetried, 1);
        self.wait(now, wait);
        self.say(match cause {
            Cause::NoAnswer => Note::NoAnswer,
            Cause::Status(status) => Note::Unwell(status),
        })
    }

    fn wait(&mut self, now: u64, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).min(WAIT_MAX_NS));
        self.expire(now);
    }

    /// What is wrong will not be right in a second: asks again slowly, and keeps what it has.
    fn ask_slowly(&mut self, now: u64, note: Note) -> Option<Note> {
        self.counters.add(Counter::ExportRefused, 1);
        self.not_before = now.saturating_add(u64::try_from(PROBE.as_nanos()).unwrap_or(u64::MAX));
        self.say(note)
    }

    fn no_such_api(&mut self, now: u64, note: Note) -> Option<Note> {
        if !self.api.is_refused(now) {
            return self.ask_slowly(now, note);
        }
        self.counters.add(Counter::ExportRefused, 1);
        self.not_before = 0;
        self.say(if self.api.current() == Api::Ingestion { Note::UsingIngestion } else { Note::UsingOtlp })
    }

    /// The batch is refused for good: one bad span may be the reason, or its size. It is sent in two parts from now on; a
    /// single span, or a batch of a server that refuses everything, is dropped for `reason`.
    fn refused(&mut self, status: u16, reason: Counter) -> Option<Note> {
        self.counters.add(Counter::ExportRefused, 1);
        (self.checked, self.failures) = (true, 0);
        if let Asked::Batch(_) = self.asked {
            self.refusals = self.refusals.saturating_add(1);
            self.halve(reason);
        }
        // It says nothing of the connection, so the next success is no news.
        Some(Note::Refused(status))
    }

    fn halve(&mut self, reason: Counter) {
        let Some(batch) = self.batches.front_mut() else { return };
        if batch.spans.len() < 2 || self.refusals >= REFUSALS_MAX {
            return self.drop_batch(reason);
        }
        let second = batch.spans.split_off(batch.spans.len() / 2);
        let (since, aside) = (batch.since, batch.aside);
        self.batches.insert(1, Batch { spans: second, since, aside });
    }

    /// Drops batches that have been tried for as long as they may be.
    fn expire(&mut self, now: u64) {
        let age_ms = |batch: &Batch| now.saturating_sub(batch.since) / 1_000_000;
        while self.batches.front().is_some_and(|batch| age_ms(batch) >= self.retry_age_ms) {
            self.drop_batch(Counter::DroppedExpired);
        }
    }

    fn drop_batch(&mut self, reason: Counter) {
        if let Some(batch) = self.batches.pop_front() {
            self.counters.add(reason, batch.spans.len() as u64);
            self.queue.release(&batch.spans);
        }
    }

    fn say(&mut self, note: Note) -> Option<Note> {
        (self.said.replace(note) != Some(note)).then_some(note)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.counters.add(Counter::DroppedShutdown, self.pending() as u64);
    }
}
