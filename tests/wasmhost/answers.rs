//! Everything that Langfuse, or the network before it, may answer: traffic passes, every trace is sent or counted as
//! dropped, one call at a time is under way, and when Langfuse is well again the filter is too.

use std::collections::BTreeSet;

use testkit::langfuse::{Generation, Span};
use wasm_host::{Answer, Failure, Kong, Personality, Rule, Worker};

use crate::exchanges::{chat, stream};
use crate::rig::{langfuse, pass, read_spans, start, try_wait_for_call, wait_for_call};

/// The longest that the filter may take to make its next call: the longest `retry-after` that it heeds, with jitter.
const LONGEST_MS: u64 = 320_000;

/// When the odd answer is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    SelfCheck,
    Batch,
}

/// What became of two traces around an odd answer.
#[derive(Debug)]
struct Outcome {
    delivered: usize,
    dropped: usize,
    calls: usize,
}

/// One odd answer, then a Langfuse that is well.
fn survive(host: &Personality, at: At, odd: &Answer) -> (Worker, Outcome) {
    let mut worker = start(host);
    let mut calls = 1;
    let call = wait_for_call(&mut worker);
    worker.answer(call.token, if at == At::SelfCheck { odd.clone() } else { Answer::status(200) });
    pass(&mut worker, 0, &chat());
    let mut delivered: Vec<Span> = Vec::new();
    let call = wait_for_call(&mut worker);
    if at == At::Batch {
        delivered.extend(if is_success(odd) { read_spans(&call) } else { Vec::new() });
        worker.answer(call.token, odd.clone());
    } else {
        let (taken, answer) = langfuse(Generation::V4, &call);
        delivered.extend(taken);
        worker.answer(call.token, answer);
    }
    pass(&mut worker, 0, &stream());
    while delivered.len() + dropped(&worker) < 2 {
        let hung = worker.callouts().first().map(|call| call.token).filter(|_| matches!(odd, Answer::Hangs));
        let Some(call) = next_call(&mut worker, hung) else { break };
        calls += 1;
        let (taken, answer) = langfuse(Generation::V4, &call);
        delivered.extend(taken);
        worker.answer(call.token, answer);
        worker.advance_ms(40);
    }
    let ids: BTreeSet<&str> = delivered.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(ids.len(), delivered.len(), "no trace is taken twice");
    let outcome = Outcome { delivered: delivered.len(), dropped: dropped(&worker), calls };
    (worker, outcome)
}

fn is_success(answer: &Answer) -> bool {
    let Answer::Response { status: Some(status), .. } = answer else { return false };
    status.trim().parse().is_ok_and(|status: u16| (200..300).contains(&status))
}

/// The next call that is not the one that hangs; at no time is there more than one besides.
fn next_call(worker: &mut Worker, hung: Option<u32>) -> Option<wasm_host::Callout> {
    if hung.is_none() {
        let call = try_wait_for_call(worker, LONGEST_MS);
        assert!(worker.callouts().len() <= 1, "two calls under way");
        return call;
    }
    for _ in 0..LONGEST_MS / 100 {
        worker.advance_ms(100);
        let other = worker.callouts().into_iter().find(|call| Some(call.token) != hung);
        if other.is_some() {
            return other;
        }
    }
    None
}

/// Traces that the filter says it dropped: in its metrics on Envoy, in its log everywhere.
fn dropped(worker: &Worker) -> usize {
    let metrics = worker.metrics();
    let counted = metrics.iter().filter(|(name, _)| name.contains("traces_dropped")).map(|(_, value)| *value).sum();
    let said = |line: &String| {
        line.strip_prefix("ai-tracing: traces dropped so far: ")?.split(' ').next()?.parse::<u64>().ok()
    };
    let logged = worker.filter_log().iter().filter_map(said).next_back().unwrap_or_default();
    usize::try_from(logged.max(counted)).unwrap()
}

fn assert_accounted(host: &Personality, at: At, answer: &str, worker: &Worker, outcome: &Outcome) {
    let context = || format!("{}, {at:?} answered {answer}: {outcome:?}", host.name());
    assert_eq!(outcome.delivered + outcome.dropped, 2, "{}; {:#?}", context(), worker.filter_log());
    if *host == Personality::envoy() {
        let metrics = worker.metrics();
        let count = |name: &str| metrics.get(name).copied().unwrap_or_default();
        assert_eq!(count("ai_tracing_traces_offered"), 2, "{}", context());
        assert_eq!(count("ai_tracing_traces_sent") + outcome.dropped as u64, 2, "{}", context());
    }
}

fn try_answer(host: &Personality, at: At, name: &str, answer: &Answer) -> Outcome {
    let (worker, outcome) = survive(host, at, answer);
    assert_accounted(host, at, name, &worker, &outcome);
    worker.assert_healthy();
    outcome
}

#[test]
fn every_status_is_survived_and_accounted_for() {
    for host in [Personality::envoy(), Personality::kong(Kong::V3_9)] {
        for status in 100..=599_u16 {
            for at in [At::SelfCheck, At::Batch] {
                let outcome = try_answer(&host, at, &status.to_string(), &Answer::status(status));
                let refused =
                    matches!(status, 100..=199 | 400..=499) && ![401, 403, 404, 405, 408, 425, 429].contains(&status);
                let lost = usize::from(at == At::Batch && refused);
                assert_eq!(outcome.dropped, lost, "{at:?} {status}");
            }
        }
    }
}

#[test]
fn garbage_for_a_status_is_survived() {
    for host in [Personality::envoy(), Personality::kong(Kong::V3_4)] {
        for garbage in ["", " ", "abc", "0", "99999", "-200", "2e2", "200 OK", "\u{0}", "１００"] {
            for at in [At::SelfCheck, At::Batch] {
                try_answer(&host, at, garbage, &Answer::status(garbage).header("retry-after", garbage).body("x"));
            }
        }
        try_answer(&host, At::Batch, "without a status", &Answer::without_status());
    }
}

#[test]
fn no_answer_costs_time_and_no_trace() {
    for host in [Personality::envoy()].into_iter().chain(Kong::ALL.map(Personality::kong)) {
        for failure in [Failure::Refused, Failure::Broken, Failure::Timeout] {
            for at in [At::SelfCheck, At::Batch] {
                let outcome = try_answer(&host, at, &format!("{failure:?}"), &Answer::Failed(failure));
                assert_eq!(outcome.dropped, 0, "{}: {at:?} {failure:?}", host.name());
            }
        }
    }
}

#[test]
fn a_call_that_hangs_for_ever_is_given_up_at_the_price_of_one_connection() {
    for host in [Personality::envoy(), Personality::kong(Kong::V3_4), Personality::kong(Kong::V3_9)] {
        let (worker, outcome) = survive(&host, At::Batch, &Answer::Hangs);
        assert_accounted(&host, At::Batch, "never", &worker, &outcome);
        let rules: Vec<Rule> = worker.take_violations().iter().map(|violation| violation.rule).collect();
        let price = if host == Personality::envoy() { Vec::new() } else { vec![Rule::SecondCall] };
        assert!(rules.iter().all(|rule| price.contains(rule)), "{}: {rules:?}", host.name());
        assert!(rules.len() <= outcome.calls, "{rules:?}");
    }
}

#[test]
fn a_dead_langfuse_costs_few_calls_and_in_the_end_the_trace() {
    for host in [Personality::envoy(), Personality::kong(Kong::V3_4), Personality::kong(Kong::V3_9)] {
        let mut worker = start(&host);
        pass(&mut worker, 0, &chat());
        let mut calls = 0;
        for _ in 0..600 {
            worker.advance_ms(1000);
            for call in worker.callouts() {
                calls += 1;
                worker.answer(call.token, Answer::Failed(Failure::Refused));
            }
        }
        // Kong 3.4 does not tell that a call has failed: the filter gives each up at its own deadline.
        assert!((4..40).contains(&calls), "{}: {calls} calls in ten minutes", host.name());
        pass(&mut worker, 0, &stream());
        let mut delivered = 0;
        while let Some(call) = try_wait_for_call(&mut worker, LONGEST_MS).filter(|_| delivered + dropped(&worker) < 2) {
            let (taken, answer) = langfuse(Generation::V4, &call);
            delivered += taken.len();
            worker.answer(call.token, answer);
            worker.advance_ms(40);
        }
        assert_eq!(delivered + dropped(&worker), 2, "{}: {:#?}", host.name(), worker.filter_log());
    }
}
