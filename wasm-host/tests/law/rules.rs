//! Every rule: broken, caught, with the effect that it says; and let go on Envoy where it is none of Envoy's.

use std::collections::BTreeSet;

use wasm_host::law::Host;
use wasm_host::{Answer, Effect, Exchange, Framing, Personality, Request, Response, Rule, Setup, StartError, Worker};

use crate::cases::{Case, Freed, cases};

/// A worker's day: ticks, an exchange with bodies of several buffers, answers, ticks.
fn live(case: &Case, host: &Personality) -> Result<Worker, StartError> {
    let mut worker = Worker::start(&case.guest.module(), Setup::new(host.clone()).root("tap", "{}"))?;
    let answer_all = |worker: &mut Worker| {
        for call in worker.callouts() {
            worker.answer(call.token, Answer::status(200));
        }
    };
    worker.tick_now(0);
    answer_all(&mut worker);
    let request = Request::post("/", vec![b'q'; 6000]);
    let response = Response::of(200, "text/plain", vec![vec![b'a'; 6000]], Framing::Chunked);
    let mut exchange = Exchange::new(request, response);
    if case.freed.is_some() {
        (exchange.think_ms, exchange.gap_ms) = (0, 0);
    }
    worker.exchange(0, &exchange);
    answer_all(&mut worker);
    worker.tick_now(0);
    if let Some(freed) = case.freed.filter(|_| host.wasmx().is_some()) {
        if freed == Freed::BeforeTick {
            answer_all(&mut worker);
            worker.advance_ms(1);
        }
        worker.free_plan();
        worker.exchange(0, &exchange);
        // The old timer, and not yet the new one.
        worker.advance_ms(if freed == Freed::BeforeTick { 99 } else { 0 });
    }
    answer_all(&mut worker);
    Ok(worker)
}

fn broken(outcome: &Result<Worker, StartError>) -> Vec<Rule> {
    match outcome {
        Ok(worker) => worker.take_violations().iter().map(|violation| violation.rule).collect(),
        Err(error) => vec![error.violation.rule],
    }
}

#[test]
fn every_rule_is_caught_on_wasmx() {
    for case in cases() {
        let outcome = live(&case, &case.wasmx);
        let rules = broken(&outcome);
        // A rule that is broken at the start keeps the worker from starting, which is a rule too.
        let stopped_start = outcome.as_ref().is_err_and(|error| error.violation.context.contains(case.rule.text()));
        assert!(rules.iter().all(|rule| *rule == case.rule) || stopped_start, "{:?}: {rules:?}", case.rule);
        assert!(!rules.is_empty(), "{:?} is not caught", case.rule);
        if let Ok(worker) = &outcome {
            assert_effect(case.rule, worker);
        }
    }
}

fn assert_effect(rule: Rule, worker: &Worker) {
    let happened = match rule.effect() {
        Effect::Crash => worker.crashed() == Some(rule),
        Effect::Trap => worker.instances() > 1,
        Effect::Leak => worker.leaked_connections() > 0,
        Effect::NoStart => false,
        Effect::CorruptsMemory | Effect::Misleads | Effect::HoldsUp | Effect::Breaks => true,
    };
    assert!(happened, "{rule:?} has no effect");
}

#[test]
fn what_only_wasmx_forbids_passes_on_envoy() {
    for case in cases() {
        let rules = broken(&live(&case, &Personality::envoy()));
        match case.rule.host() {
            Host::WasmX => assert!(rules.iter().all(|rule| rule.host() == Host::Both), "{:?}: {rules:?}", case.rule),
            Host::Both => assert!(rules.contains(&case.rule), "{:?}: {rules:?}", case.rule),
        }
    }
}

#[test]
fn there_is_a_guest_for_every_rule() {
    let tried: BTreeSet<String> = cases().iter().map(|case| format!("{:?}", case.rule)).collect();
    let untried: Vec<_> = Rule::ALL.iter().filter(|rule| !tried.contains(&format!("{rule:?}"))).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn a_broken_rule_fails_the_test_that_does_not_take_it() {
    let case = cases().into_iter().find(|case| case.rule == Rule::CallRefused).unwrap();
    let dropped = std::panic::catch_unwind(|| drop(live(&case, &case.wasmx)));
    let message = *dropped.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("hosts.md 2.5") && message.contains("http://h"), "{message}");
}
