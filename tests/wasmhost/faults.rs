//! Langfuse fails in every way that it has: on Kong (with metrics, by which the account is read) and on Envoy each trace
//! is sent once, or counted as dropped with its reason, and calls pass.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::langfuse::Span;
use wasm_host::{Answer, Callout, Exchange, Kong, Personality, Setup, Worker};

use crate::exchanges::request;
use crate::rig::{NAME, config, pass, read_spans, start_with, wasmx};

/// What a test's Langfuse does with the call of that number: the spans that it takes, and its answer.
type Langfuse<'a> = &'a mut dyn FnMut(usize, &Callout) -> (Vec<Span>, Answer);

fn hosts() -> [Personality; 2] {
    [wasmx(|wasmx| (wasmx.kong, wasmx.filter_name) = (Some(Kong::V3_9), "ai_tracing".to_owned())), Personality::envoy()]
}

/// A worker whose self check is over.
fn started(host: &Personality, more: &Value) -> Worker {
    let mut worker = start_with(Setup::new(host.clone()).root(NAME, config(more)));
    serve(&mut worker, 1000, &mut |_, _| (Vec::new(), Answer::status(200)));
    worker
}

/// Calls `from..to`, told apart by their prompts; no time passes.
fn calls(worker: &mut Worker, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let mut exchange = crate::exchanges::chat();
        exchange.request = request(false, &format!("question {number}"));
        pass(worker, 0, &Exchange { think_ms: 0, gap_ms: 0, ..exchange });
    }
}

fn serve(worker: &mut Worker, ms: u64, langfuse: Langfuse<'_>) -> Vec<Span> {
    let (mut spans, mut count) = (Vec::new(), 0);
    for _ in 0..ms / 20 {
        worker.advance_ms(20);
        assert!(worker.callouts().len() <= 1, "one call at a time");
        for call in worker.callouts() {
            let (taken, answer) = langfuse(count, &call);
            spans.extend(taken);
            worker.answer(call.token, answer);
            count += 1;
        }
    }
    spans
}

fn well(call: &Callout) -> (Vec<Span>, Answer) {
    (read_spans(call), Answer::status(200).body("{}"))
}

fn number(span: &Span) -> usize {
    let text = span.input().to_string();
    let digits = text.split("question ").nth(1).expect("a numbered question");
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

fn numbers(spans: &[Span]) -> Vec<usize> {
    let mut numbers: Vec<usize> = spans.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Offered, sent, and dropped by reason.
fn account(worker: &Worker) -> (u64, u64, BTreeMap<String, u64>) {
    let metrics = worker.metrics();
    let of = |part: &str| metrics.iter().filter(|(name, _)| name.ends_with(part)).map(|(_, value)| *value).sum();
    let dropped = metrics.iter().filter(|(_, value)| **value > 0).filter_map(|(name, value)| {
        let reason = name.split_once("traces_dropped_reason=")?.1;
        Some((reason.to_owned(), *value))
    });
    (of("traces_offered"), of("traces_sent"), dropped.collect())
}

/// The account is closed: so many offered, these dropped, the others sent.
#[track_caller]
fn assert_account(worker: &Worker, offered: u64, dropped: &[(&str, u64)]) {
    let wanted: BTreeMap<String, u64> = dropped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    let lost: u64 = dropped.iter().map(|(_, count)| count).sum();
    assert_eq!(account(worker), (offered, offered - lost, wanted), "{:#?}", worker.filter_log());
    worker.assert_healthy();
}

#[test]
fn outages_lose_nothing() {
    let odd = [
        Answer::status(503),
        Answer::status(500),
        Answer::status(429).header("retry-after", "3"),
        Answer::status(429).header("retry-after", "Sun, 22 Nov 2026 12:00:00 GMT"),
        Answer::status(401),
        Answer::status(302),
        Answer::Failed(wasm_host::Failure::Refused),
        Answer::Failed(wasm_host::Failure::Timeout),
        Answer::Failed(wasm_host::Failure::Broken),
    ];
    for host in hosts() {
        for answer in &odd {
            let mut worker = started(&host, &json!({"retry_max_age": 3_600_000}));
            calls(&mut worker, 0..10);
            let mut langfuse = |count: usize, call: &Callout| match count {
                0..2 => (Vec::new(), answer.clone()),
                _ => well(call),
            };
            // A date that is far ahead is waited for five minutes, twice.
            let spans = serve(&mut worker, 700_000, &mut langfuse);
            assert_eq!(numbers(&spans), (0..10).collect::<Vec<_>>(), "{} {answer:?}", host.name());
            assert_account(&worker, 10, &[]);
        }
    }
}

#[test]
fn what_is_too_large_or_bad_is_found_and_the_rest_arrives() {
    for host in hosts() {
        for (status, reason) in [(413, "too_large"), (400, "rejected")] {
            let mut worker = started(&host, &Value::Null);
            calls(&mut worker, 0..9);
            let mut langfuse = |_: usize, call: &Callout| {
                let bad = read_spans(call).iter().any(|span| number(span) == 4);
                if bad { (Vec::new(), Answer::status(status)) } else { well(call) }
            };
            let spans = serve(&mut worker, 5000, &mut langfuse);
            assert_eq!(numbers(&spans), [0, 1, 2, 3, 5, 6, 7, 8], "{}", host.name());
            assert_account(&worker, 9, &[(reason, 1)]);
        }
    }
}

#[test]
fn partial_successes_are_counted_and_not_repeated() {
    for host in hosts() {
        let mut worker = started(&host, &Value::Null);
        calls(&mut worker, 0..5);
        let partial = json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}}).to_string();
        let mut seen = 0;
        serve(&mut worker, 5000, &mut |_, call| {
            seen += read_spans(call).len();
            (Vec::new(), Answer::status(200).body(partial.clone()))
        });
        assert_eq!(seen, 5, "{}", host.name());
        assert_account(&worker, 5, &[("rejected", 2)]);
    }
}

#[test]
fn of_a_mixed_207_only_what_may_be_retried_comes_again() {
    for host in hosts() {
        let mut worker = start_with(Setup::new(host.clone()).root(NAME, config(&json!({"protocol": "ingestion"}))));
        let empty = json!({"successes": [], "errors": []});
        serve(&mut worker, 1000, &mut |_, _| (Vec::new(), Answer::status(207).body(empty.to_string())));
        calls(&mut worker, 0..3);
        let mut batches: Vec<Vec<String>> = Vec::new();
        serve(&mut worker, 10_000, &mut |count, call| {
            let body: Value = serde_json::from_slice(&call.body).expect("JSON");
            let text = |event: &Value| event["id"].as_str().expect("an id").to_owned();
            let ids: Vec<String> = body["batch"].as_array().expect("a batch").iter().map(text).collect();
            let error = |at: usize, status: u16| json!({"id": ids[at], "status": status, "message": "m", "error": "e"});
            // Of three traces with two events each: the first is refused, the second is for later.
            let errors = if count == 0 { vec![error(1, 400), error(2, 503)] } else { Vec::new() };
            batches.push(ids.clone());
            (Vec::new(), Answer::status(207).body(json!({"successes": [], "errors": errors}).to_string()))
        });
        assert_eq!(batches.len(), 2, "{}: {batches:?}", host.name());
        assert_eq!(batches[1], batches[0][2..4], "the same events again, and no others");
        assert_account(&worker, 3, &[("rejected", 1)]);
    }
}

#[test]
fn an_outage_longer_than_the_queue_holds_costs_the_oldest() {
    for host in hosts() {
        let mut worker = started(&host, &json!({"queue_max_items": 5, "batch_max_items": 3}));
        let mut down = |_: usize, _: &Callout| (Vec::new(), Answer::status(503));
        for round in 0..10 {
            calls(&mut worker, round * 3..round * 3 + 3);
            serve(&mut worker, 3000, &mut down);
        }
        let spans = serve(&mut worker, 130_000, &mut |_, call| well(call));
        let arrived = numbers(&spans);
        assert_eq!(arrived.len(), 8, "a batch and a full queue: {arrived:?}");
        assert!(arrived.ends_with(&[25, 26, 27, 28, 29]), "the newest: {arrived:?}");
        assert_account(&worker, 30, &[("queue_full", 22)]);
    }
}

#[test]
fn what_langfuse_never_takes_expires_and_is_counted() {
    for host in hosts() {
        let mut worker = started(&host, &json!({"retry_max_age": 20_000}));
        calls(&mut worker, 0..4);
        serve(&mut worker, 130_000, &mut |_, _| (Vec::new(), Answer::status(503)));
        assert_account(&worker, 4, &[("expired", 4)]);
    }
}
