//! One call at a time, for all projects of a root context: who may call now, and whose answer has come. Time, answers
//! and randomness come in as arguments; calls and notes go out as values.

use std::time::Duration;

use super::api::Api;
use super::lane::Lane;
use super::note::{NotCalled, Note};
use super::otlp::Resource;
use super::verdict::Reply;

/// A host that never answers (WasmX up to Kong 3.8) is given up on after this many call timeouts, because a timeout
/// counts for connecting, sending and each read, and the time (milliseconds) that finding the host's address may take.
/// Two calls at once would cost a WasmX worker connections, so this is long.
const DEADLINE: (u64, u64) = (4, 60_000);

/// What to do at a tick.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Make this call, then tell the outcome with [`Exporter::dispatched`].
    Call(Outgoing),
    /// Nothing but to say this of the lane of that number.
    Say(usize, Note),
}

/// A call to make.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Number of the lane whose server is called.
    pub lane: usize,
    /// Which of its APIs.
    pub api: Api,
    /// The request's body; an empty one asks OTLP only whether it is there.
    pub body: Vec<u8>,
}

/// The call under way.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    lane: usize,
    token: u32,
    since: u64,
    deadline: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Exporter {
    lanes: Vec<Lane>,
    timeout_ms: u64,
    /// One at the most, but for the end.
    calls: Vec<InFlight>,
    /// The lane that may call next.
    turn: usize,
    /// Each lane may have a call under way.
    ending: bool,
}

impl Exporter {
    /// An exporter for these lanes, whose calls time out after `timeout_ms`.
    #[must_use]
    pub fn new(lanes: Vec<Lane>, timeout_ms: u32) -> Self {
        Self { lanes, timeout_ms: u64::from(timeout_ms), calls: Vec::new(), turn: 0, ending: false }
    }

    /// Takes a span for the lane of that number; false where there is none of it.
    pub fn offer(&mut self, lane: usize, span: Vec<u8>, now: u64) -> bool {
        let lane = self.lanes.get_mut(lane);
        lane.map(|lane| lane.offer(span, now)).is_some()
    }

    /// Traces that are queued or being sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lanes.iter().map(Lane::pending).sum()
    }

    /// Another exporter has done the same before: nothing is called before there is a trace, and success is no news.
    pub fn resume(&mut self) {
        self.lanes.iter_mut().for_each(Lane::resume);
    }

    /// A call is under way.
    #[must_use]
    pub fn is_calling(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Nothing is queued, being sent, or under way.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.calls.is_empty() && self.pending() == 0
    }

    /// The gateway is about to end, and is Envoy: everything is due, and each lane may call at once, because there may be
    /// time for one call only.
    pub fn end(&mut self) {
        self.ending = true;
        self.lanes.iter_mut().for_each(Lane::end);
    }

    /// What to do now; a call only if one `may` be made.
    pub fn poll(&mut self, now: u64, may_call: bool, resource: Resource<'_>) -> Step {
        // A clock that was set back must not hold the next call up for ever.
        let latest = self.deadline(now);
        self.calls.iter_mut().for_each(|call| call.deadline = call.deadline.min(latest));
        if let Some(token) = self.calls.iter().find(|call| now >= call.deadline).map(|call| call.token) {
            let said = self.answered(now, token, &Reply::default());
            return said.map_or(Step::Wait, |(lane, note)| Step::Say(lane, note));
        }
        if !self.ending && (!self.calls.is_empty() || !may_call) {
            return Step::Wait;
        }
        for _ in 0..self.lanes.len() {
            let lane = self.turn;
            self.turn = (lane + 1) % self.lanes.len();
            if self.calls.iter().any(|call| call.lane == lane) {
                continue;
            }
            if let Some((api, body)) = self.lanes.get_mut(lane).and_then(|lane| lane.next_call(now, resource)) {
                return Step::Call(Outgoing { lane, api, body });
            }
        }
        Step::Wait
    }

    /// The host has made the call of [`Step::Call`] for `lane` (and gave it a token), or could not.
    pub fn dispatched(&mut self, now: u64, lane: usize, outcome: Result<u32, NotCalled>) -> Option<Note> {
        match outcome {
            Ok(token) => {
                let deadline = self.deadline(now);
                self.calls.push(InFlight { lane, token, since: now, deadline });
                None
            }
            Err(why) => self.lanes.get_mut(lane)?.not_called(now, why),
        }
    }

    fn deadline(&self, now: u64) -> u64 {
        let longest_ms = self.timeout_ms.saturating_mul(DEADLINE.0).saturating_add(DEADLINE.1);
        now.saturating_add(longest_ms.saturating_mul(1_000_000))
    }

    /// An answer to the call `token` has come: the lane that it is for, and a note; one to another call is ignored.
    pub fn answered(&mut self, now: u64, token: u32, reply: &Reply<'_>) -> Option<(usize, Note)> {
        let call = self.calls.iter().position(|call| call.token == token)?;
        let call = self.calls.swap_remove(call);
        let took = Duration::from_nanos(now.saturating_sub(call.since));
        let note = self.lanes.get_mut(call.lane)?.answered(now, took, reply)?;
        Some((call.lane, note))
    }

    /// How long the call of that token has been under way; none where another one is.
    #[must_use]
    pub fn call_age(&self, token: u32, now: u64) -> Option<Duration> {
        let call = self.calls.iter().find(|call| call.token == token)?;
        Some(Duration::from_nanos(now.saturating_sub(call.since)))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::config::{ExportLimits, Protocol};
    use crate::counters::{Counter, Counters};

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000;
    const RESOURCE: Resource<'static> = Resource { service_name: "envoy" };
    const LIMITS: ExportLimits = ExportLimits {
        queue_items: 6,
        queue_bytes: 1000,
        batch_items: 3,
        batch_bytes: 400,
        batch_age_ms: 100,
        retry_age_ms: 100_000,
    };

    /// An exporter, and the server's side of its calls.
    struct Rig {
        exporter: Exporter,
        counters: Rc<Counters>,
        now: u64,
        token: u32,
        /// The lane of the last call.
        lane: usize,
    }

    impl Rig {
        fn new(lanes: usize, memory: usize, protocol: Protocol) -> Self {
            let (counters, budget) = (Rc::new(Counters::default()), Budget::new(memory));
            let lane = |_| Lane::new(LIMITS, protocol, &budget, &counters);
            let exporter = Exporter::new((0..lanes).map(lane).collect(), 1000);
            Self { exporter, counters, now: 1_000_000 * MS, token: 0, lane: 0 }
        }

        /// One lane, whose self check is over.
        fn checked() -> Self {
            let mut rig = Self::new(1, 1 << 20, Protocol::Auto);
            assert_eq!(rig.call(), Some((Api::Otlp, Vec::new())), "the first call is the self check");
            assert_eq!(rig.reply(200), Some(Note::Connected(Api::Otlp)));
            rig
        }

        fn offer(&mut self, size: usize) {
            self.exporter.offer(0, vec![7; size], self.now);
        }

        /// Offers a span that the ingestion API can be told of.
        fn offer_span(&mut self, id: u8) {
            let span = [&[0x0A, 16][..], &[id; 16], &[0x12, 8], &[id; 8]].concat();
            self.exporter.offer(0, span, self.now);
        }

        fn call(&mut self) -> Option<(Api, Vec<u8>)> {
            let Step::Call(call) = self.exporter.poll(self.now, true, RESOURCE) else { return None };
            self.token += 1;
            self.lane = call.lane;
            assert_eq!(self.exporter.dispatched(self.now, call.lane, Ok(self.token)), None);
            Some((call.api, call.body))
        }

        fn answer(&mut self, reply: &Reply<'_>) -> Option<Note> {
            self.exporter.answered(self.now, self.token, reply).map(|(_, note)| note)
        }

        fn reply(&mut self, status: u16) -> Option<Note> {
            self.answer(&Reply { status: Some(status), ..Reply::default() })
        }

        /// 207, with the event ids that get this status.
        fn reply_items(&mut self, errors: &[(&str, u16, &str)]) -> Option<Note> {
            let error = |(id, status, message): &(&str, u16, &str)| {
                format!(r#"{{"id":"{id}","status":{status},"message":"{message}","error":"{message}"}}"#)
            };
            let errors: Vec<String> = errors.iter().map(error).collect();
            let body = format!(r#"{{"successes":[],"errors":[{}]}}"#, errors.join(","));
            self.answer(&Reply { status: Some(207), body: body.as_bytes(), ..Reply::default() })
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
        rig.reply(200);
        (0..3).for_each(|_| rig.offer(10));
        assert!(rig.call().is_some(), "by items");
        rig.reply(200);
        rig.offer(400);
        assert!(rig.call().is_some(), "by bytes");
        assert_eq!(rig.call(), None, "one call at a time");
        rig.reply(200);
        assert_eq!(rig.count(Counter::Sent), 5);
        rig.balance();
    }

    #[test]
    fn one_that_goes_on_for_another_neither_checks_nor_says_that_all_is_well() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Auto);
        rig.exporter.resume();
        assert_eq!(rig.call(), None);
        rig.offer(10);
        rig.pass(100);
        assert!(rig.call().is_some());
        assert_eq!(rig.reply(503), Some(Note::Unwell(503)));
        rig.pass(2000);
        assert!(rig.call().is_some());
        assert_eq!(rig.reply(200), Some(Note::Connected(Api::Otlp)), "after a failure it is news");
        rig.balance();
    }

    #[test]
    fn no_call_is_made_where_none_may_be_but_one_that_hangs_is_given_up() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        assert_eq!(rig.exporter.poll(rig.now, false, RESOURCE), Step::Wait);
        assert!(rig.call().is_some());
        rig.pass(64_000);
        assert_eq!(rig.exporter.poll(rig.now, false, RESOURCE), Step::Say(0, Note::NoAnswer));
    }

    #[test]
    fn a_failed_batch_is_sent_again_with_the_same_bytes_after_a_backoff() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        let first = rig.call();
        assert_eq!(rig.reply(503), Some(Note::Unwell(503)));
        rig.pass(900);
        assert_eq!(rig.call(), None);
        rig.pass(400);
        rig.offer(20);
        assert_eq!(rig.call(), first);
        assert_eq!(rig.reply(503), None, "said once");
        rig.pass(1900);
        assert_eq!(rig.call(), None, "twice as long");
        rig.pass(700);
        assert_eq!(rig.call(), first);
        assert_eq!(rig.reply(200), Some(Note::Connected(Api::Otlp)));
        rig.balance();
    }

    #[test]
    fn retry_after_is_waited_for() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        rig.call();
        rig.answer(&Reply { status: Some(429), retry_after: Some(b"4"), ..Reply::default() });
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
                rig.answer(&Reply::default());
            }
            rig.pass(SECOND);
        }
        assert_eq!((rig.count(Counter::DroppedExpired), rig.exporter.pending()), (1, 0));
        rig.balance();
    }

    #[test]
    fn a_host_that_never_answers_is_given_up_on() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        rig.call();
        rig.pass(63_999);
        assert_eq!(rig.call(), None);
        rig.pass(1);
        let said = rig.exporter.poll(rig.now, true, RESOURCE);
        assert_eq!(said, Step::Say(0, Note::NoAnswer), "the deadline has passed; now the backoff counts");
        rig.pass(63_999);
        assert_eq!(rig.call(), None, "one that fails has half of the slot's time");
        rig.pass(1);
        let late = rig.token;
        assert!(rig.call().is_some());
        let reply = Reply { status: Some(200), ..Reply::default() };
        assert_eq!(rig.exporter.answered(rig.now, late, &reply), None);
        assert_eq!(rig.count(Counter::Sent), 0, "an answer to an old call counts for nothing");
        rig.balance();
    }

    #[test]
    fn wrong_keys_are_asked_about_slowly_and_recover() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Auto);
        rig.call();
        assert_eq!(rig.reply(401), Some(Note::WrongKeys(401)));
        rig.offer(10);
        rig.pass(59_000);
        assert_eq!(rig.call(), None);
        rig.pass(1001);
        rig.call();
        assert_eq!(rig.reply(200), Some(Note::Connected(Api::Otlp)));
        assert!(rig.call().is_some());
        rig.reply(200);
        assert_eq!(rig.count(Counter::Sent), 1);
    }

    #[test]
    fn a_server_with_neither_api_keeps_the_traces_and_is_asked_slowly() {
        for (protocol, apis) in [
            (Protocol::Auto, vec![Api::Otlp, Api::Ingestion]),
            (Protocol::Otlp, vec![Api::Otlp]),
            (Protocol::Ingestion, vec![Api::Ingestion]),
        ] {
            let mut rig = Rig::new(1, 1 << 20, protocol);
            rig.offer_span(1);
            for round in 0..2 {
                let mut said = None;
                for api in &apis {
                    assert_eq!(rig.call().map(|call| call.0), Some(*api), "{protocol:?}");
                    said = rig.reply(404);
                }
                let first = (round == 0 || protocol == Protocol::Auto).then_some(Note::WrongAddress(404));
                assert_eq!(said, first, "{protocol:?}");
                rig.pass(59_000);
                assert_eq!((rig.call(), rig.exporter.pending()), (None, 1));
                rig.pass(1001);
            }
            let (api, _) = rig.call().unwrap();
            let said = if api == Api::Otlp { rig.reply(200) } else { rig.reply_items(&[]) };
            assert_eq!(said, Some(Note::Connected(api)));
        }
    }

    #[test]
    fn a_server_without_otlp_gets_the_legacy_batch_and_is_asked_for_otlp_each_hour() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Auto);
        rig.offer_span(1);
        rig.call();
        assert_eq!(rig.reply(404), Some(Note::UsingIngestion));
        assert_eq!(rig.call(), Some((Api::Ingestion, br#"{"batch":[]}"#.to_vec())), "at once");
        assert_eq!(rig.reply_items(&[]), Some(Note::Connected(Api::Ingestion)));
        rig.pass(100);
        assert_eq!(rig.call().map(|call| call.0), Some(Api::Ingestion));
        rig.reply_items(&[]);
        assert_eq!(rig.count(Counter::Sent), 1);

        for odd in [404, 401, 503, 400, 413] {
            rig.pass(3600 * SECOND);
            assert_eq!(rig.call(), Some((Api::Otlp, Vec::new())), "without a trace");
            assert_eq!(rig.reply(odd), None, "nothing has changed, nothing is said");
            rig.offer_span(2);
            rig.pass(100);
            assert_eq!(rig.call().map(|call| call.0), Some(Api::Ingestion), "{odd}: at once");
            rig.reply_items(&[]);
        }

        rig.pass(3600 * SECOND);
        rig.call();
        assert_eq!(rig.reply(200), Some(Note::UsingOtlp));
        rig.offer_span(3);
        rig.pass(100);
        assert_eq!(rig.call().map(|call| call.0), Some(Api::Otlp));
        rig.reply(200);
        assert_eq!((rig.count(Counter::Sent), rig.exporter.pending()), (7, 0));
        // The first 404, and the five that were no yes.
        assert_eq!(rig.count(Counter::ExportRefused), 6);
        rig.balance();
    }

    #[test]
    fn a_server_that_refuses_legacy_events_gets_otlp_and_loses_nothing() {
        let refusal = "Event type not accepted";
        let event = "0101010101010101-observation";
        let mut rig = Rig::new(1, 1 << 20, Protocol::Auto);
        rig.call();
        rig.reply(404);
        rig.call();
        rig.reply_items(&[]);
        rig.offer_span(1);
        rig.pass(100);
        rig.call();
        assert_eq!(rig.reply_items(&[(event, 400, refusal)]), Some(Note::UsingOtlp));
        assert_eq!(rig.call().map(|call| call.0), Some(Api::Otlp), "at once");
        rig.reply(200);
        assert_eq!(rig.count(Counter::Sent), 1);

        let mut fixed = Rig::new(1, 1 << 20, Protocol::Ingestion);
        fixed.call();
        fixed.reply_items(&[]);
        fixed.offer_span(1);
        fixed.pass(100);
        fixed.call();
        assert_eq!(fixed.reply_items(&[(event, 400, refusal)]), Some(Note::IngestionRefused));
        assert_eq!((fixed.call(), fixed.exporter.pending()), (None, 1), "kept");
        fixed.balance();
    }

    #[test]
    fn only_the_traces_that_may_be_retried_are() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Ingestion);
        rig.call();
        rig.reply_items(&[]);
        (1..=3).for_each(|id| rig.offer_span(id));
        rig.call();
        let errors = [("0101010101010101-observation", 400, "bad"), ("0202020202020202-trace", 503, "later")];
        assert_eq!(rig.reply_items(&errors), Some(Note::Refused(207)));
        assert_eq!((rig.count(Counter::Sent), rig.count(Counter::DroppedRejected)), (1, 1));
        assert_eq!((rig.call(), rig.exporter.pending()), (None, 1));
        rig.pass(1300);
        let (_, body) = rig.call().unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("0202020202020202") && !body.contains("0303030303030303"), "{body}");
        rig.reply_items(&[]);
        assert_eq!((rig.count(Counter::Sent), rig.exporter.pending()), (2, 0));
        rig.balance();
    }

    #[test]
    fn a_trace_that_is_never_taken_holds_no_other_up_and_expires() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Ingestion);
        rig.call();
        rig.reply_items(&[]);
        rig.offer_span(1);
        for _ in 0..2000 {
            rig.offer_span(2);
            while let Some((_, body)) = rig.call() {
                let bad = String::from_utf8(body).unwrap().contains("0101010101010101-");
                let errors = [("0101010101010101-trace", 500, "database")];
                rig.reply_items(if bad { &errors } else { &[] });
            }
            rig.pass(100);
        }
        assert_eq!(rig.count(Counter::DroppedExpired), 1);
        assert_eq!(rig.count(Counter::Sent) + rig.exporter.pending() as u64, 2000, "and no other was dropped");
        rig.balance();
    }

    #[test]
    fn a_server_that_takes_some_of_a_batch_is_well() {
        let mut rig = Rig::new(1, 1 << 20, Protocol::Ingestion);
        rig.call();
        rig.reply_items(&[]);
        let error = [("0202020202020202-trace", 503, "later")];
        for step in 0..4_u8 {
            rig.offer_span(3 + step);
            rig.pass(100);
            rig.call();
            rig.reply(503);
            // Were these failures in a row, the last wait would be eight seconds.
            rig.pass(1300);
            rig.offer_span(2);
            rig.call();
            rig.reply_items(&error);
            assert!(rig.count(Counter::Sent) > u64::from(step), "{step}");
        }
        rig.balance();
    }

    #[test]
    fn wrong_keys_keep_what_waits_however_long() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        for _ in 0..60 {
            if rig.call().is_some() {
                rig.reply(401);
            }
            rig.pass(20 * SECOND);
        }
        assert_eq!(rig.exporter.pending(), 1);
        rig.pass(60 * SECOND);
        rig.call();
        rig.reply(200);
        assert_eq!(rig.count(Counter::Sent), 1);
    }

    #[test]
    fn a_dead_project_fills_its_share_of_the_memory_and_no_more() {
        let limits = ExportLimits { queue_items: 1_000_000, queue_bytes: 1 << 20, ..LIMITS }.shared_by(3, 30_000);
        let (counters, budget) = (Rc::new(Counters::default()), Budget::new(30_000));
        let lanes = (0..3).map(|_| Lane::new(limits, Protocol::Otlp, &budget, &counters)).collect();
        let mut exporter = Exporter::new(lanes, 1000);
        for _ in 0..1000 {
            (0..2).for_each(|dead| assert!(exporter.offer(dead, vec![1; 100], 0)));
        }
        let waiting = exporter.pending();
        assert_eq!(waiting, 2 * 50, "each dead one has 5000 bytes");
        exporter.offer(2, vec![1; 100], 0);
        assert_eq!((exporter.pending(), counters.get(Counter::DroppedMemory)), (waiting + 1, 0));
        let mut capture = budget.capture_lease();
        assert!(capture.grow(10_000), "and calls in flight have room");
    }

    #[test]
    fn spans_that_otlp_rejects_are_counted_and_not_repeated() {
        let mut rig = Rig::checked();
        (0..3).for_each(|_| rig.offer(10));
        rig.call();
        let body = br#"{"partialSuccess":{"rejectedSpans":"2"}}"#;
        let note = rig.answer(&Reply { status: Some(200), body, ..Reply::default() });
        assert_eq!(note, Some(Note::Refused(200)));
        assert_eq!((rig.count(Counter::Sent), rig.count(Counter::DroppedRejected), rig.call()), (1, 2, None));
        rig.balance();
    }

    #[test]
    fn too_large_is_split_until_the_one_that_is_too_large_is_alone() {
        let mut rig = Rig::checked();
        (0..3).for_each(|_| rig.offer(10));
        let (mut calls, mut sent) = (0, Vec::new());
        while let Some((_, body)) = rig.call() {
            calls += 1;
            let too_large = body.len() > 80;
            rig.reply(if too_large { 413 } else { 200 });
            sent.push(too_large);
        }
        assert!(calls >= 3 && sent.iter().any(|too_large| *too_large), "{sent:?}");
        assert_eq!((rig.count(Counter::Sent) + rig.counters.dropped(), rig.exporter.pending()), (3, 0));
        rig.offer(100);
        rig.pass(100);
        rig.call();
        rig.reply(413);
        assert_eq!(rig.count(Counter::DroppedTooLarge), 1);
        rig.balance();
    }

    #[test]
    fn one_bad_span_costs_the_others_nothing() {
        let mut rig = Rig::checked();
        [10, 11, 10].into_iter().for_each(|size| rig.offer(size));
        while let Some((_, body)) = rig.call() {
            let bad = body.windows(13).any(|bytes| bytes == [&[0x12, 11][..], &[7; 11]].concat());
            rig.reply(if bad { 400 } else { 200 });
        }
        assert_eq!((rig.count(Counter::Sent), rig.count(Counter::DroppedRejected)), (2, 1));
        rig.balance();
    }

    #[test]
    fn a_server_that_refuses_everything_is_not_searched_for_ever() {
        let mut rig = Rig::checked();
        let mut calls = 0;
        for _ in 0..100 {
            (0..3).for_each(|_| rig.offer(10));
            while rig.call().is_some() {
                calls += 1;
                rig.reply(400);
            }
        }
        assert_eq!((rig.count(Counter::DroppedRejected), rig.exporter.pending()), (300, 0));
        assert!(calls <= 100 + 24, "{calls}");
    }

    #[test]
    fn calls_that_cannot_be_made_keep_the_traces() {
        let mut rig = Rig::checked();
        rig.offer(10);
        rig.pass(100);
        for _ in 0..50 {
            if let Step::Call(call) = rig.exporter.poll(rig.now, true, RESOURCE) {
                rig.exporter.dispatched(rig.now, call.lane, Err(NotCalled::NoUpstream));
                assert_eq!(rig.exporter.poll(rig.now, true, RESOURCE), Step::Wait);
            }
            rig.pass(SECOND);
        }
        assert_eq!(rig.exporter.pending(), 1);
        rig.pass(60 * SECOND);
        rig.call();
        assert_eq!(rig.reply(200), Some(Note::Connected(Api::Otlp)));
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
        let mut rig = Rig::new(1, 100, Protocol::Auto);
        (0..4).for_each(|_| rig.offer(40));
        assert_eq!((rig.exporter.pending(), rig.count(Counter::DroppedMemory)), (2, 2), "by the VM's budget");
        rig.balance();
    }

    #[test]
    fn a_project_that_is_dead_does_not_starve_the_others() {
        let mut rig = Rig::new(3, 1 << 20, Protocol::Auto);
        let mut sent = [0_u32; 3];
        for _ in 0..2000 {
            (0..3).for_each(|lane| assert!(rig.exporter.offer(lane, vec![1; 10], rig.now)));
            if rig.call().is_some() {
                if rig.lane == 1 {
                    // Each of its calls hangs until its timeout.
                    rig.pass(5000);
                    rig.answer(&Reply::default());
                } else {
                    sent[rig.lane] += 1;
                    rig.reply(200);
                }
            }
            rig.pass(20);
        }
        // 2000 rounds of 20 ms and what the hanging calls took: the healthy ones share the rest evenly.
        assert!(sent[0] > 150 && sent[2] > 150 && sent[0].abs_diff(sent[2]) < 10, "{sent:?}");
        rig.balance();
    }

    #[test]
    fn batches_never_mix_projects() {
        let mut rig = Rig::new(2, 1 << 20, Protocol::Auto);
        (0..2).for_each(|_| {
            rig.call();
            rig.reply(200);
        });
        for (lane, byte) in [(0, 1), (1, 2), (0, 1), (1, 2)] {
            rig.exporter.offer(lane, vec![byte; 10], rig.now);
        }
        rig.pass(100);
        for _ in 0..2 {
            let (_, body) = rig.call().unwrap();
            let foreign = if rig.lane == 0 { 2 } else { 1 };
            assert!(!body.windows(10).any(|bytes| bytes == [foreign; 10]));
            rig.reply(200);
        }
        assert_eq!((rig.count(Counter::Sent), rig.exporter.pending()), (4, 0));
    }

    #[test]
    fn at_the_end_everything_is_due_in_one_call() {
        let mut rig = Rig::checked();
        (0..5).for_each(|_| rig.offer(10));
        rig.call();
        rig.reply(503);
        rig.exporter.end();
        assert_eq!(rig.call().map(|call| call.0), Some(Api::Otlp), "the failed batch, without its backoff");
        rig.reply(200);
        rig.call();
        rig.reply(200);
        assert!(rig.exporter.is_drained());
    }

    #[test]
    fn at_the_end_each_project_may_call_at_once() {
        let mut rig = Rig::new(3, 1 << 20, Protocol::Auto);
        (0..3).for_each(|lane| assert!(rig.exporter.offer(lane, vec![1], rig.now)));
        rig.call();
        assert_eq!(rig.call(), None, "one at a time until then");
        rig.exporter.end();
        let lanes: Vec<usize> = (0..2).filter_map(|_| rig.call().map(|_| rig.lane)).collect();
        assert_eq!(lanes, [1, 2]);
        assert_eq!(rig.call(), None, "one each");
        for token in 1..=3 {
            let reply = Reply { status: Some(200), ..Reply::default() };
            rig.exporter.answered(rig.now, token, &reply);
        }
        assert!(rig.call().is_some(), "the first one's call was its self check");
        rig.reply(200);
        assert!(rig.exporter.is_drained());
        rig.balance();
    }

    #[test]
    fn what_is_pending_when_it_is_dropped_is_counted() {
        let mut rig = Rig::new(2, 1 << 20, Protocol::Auto);
        (0..2).for_each(|lane| assert!(rig.exporter.offer(lane, vec![1], rig.now)));
        let counters = Rc::clone(&rig.counters);
        drop(rig);
        assert_eq!(counters.get(Counter::DroppedShutdown), 2);
    }

    const STATUSES: [u16; 10] = [200, 207, 302, 400, 401, 404, 413, 429, 503, 504];

    proptest! {
        #[test]
        fn the_account_always_balances(
            protocol in prop::sample::select(vec![Protocol::Auto, Protocol::Otlp, Protocol::Ingestion]),
            steps in prop::collection::vec((0..7_u8, 0..400_u64, prop::option::of(prop::sample::select(STATUSES.to_vec())), 0..4_u8), 1..160),
        ) {
            let mut rig = Rig::new(2, 1500, protocol);
            let bodies: [&[u8]; 4] = [
                b"",
                br#"{"partialSuccess":{"rejectedSpans":"1"}}"#,
                br#"{"successes":[],"errors":[{"id":"0101010101010101-trace","status":503},{"id":"x","status":400}]}"#,
                br#"{"errors":[{"id":"0101010101010101-trace","status":400,"message":"Event type not accepted"}]}"#,
            ];
            for (step, amount, status, body) in steps {
                match step {
                    0 => rig.offer(usize::try_from(amount).unwrap()),
                    1 => rig.offer_span(body),
                    2 => assert!(rig.exporter.offer(1, vec![3; usize::try_from(amount).unwrap()], rig.now)),
                    3 => { rig.call(); }
                    4 => {
                        let body = bodies[usize::from(body)];
                        rig.answer(&Reply { status, body, ..Reply::default() });
                    }
                    5 => rig.pass(amount * 20),
                    _ => rig.now = rig.now.saturating_sub(amount * MS),
                }
                rig.balance();
                // What waits is bounded per lane; what is being sent came from there.
                prop_assert!(rig.exporter.pending() <= 2 * (LIMITS.queue_items + LIMITS.batch_items));
            }
        }
    }
}
