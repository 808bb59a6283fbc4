//! What a real Kong does beside passing calls: it answers in the place of an upstream that failed, and frees the plans of
//! filter chains that were changed, with every instance of the worker (hosts.md, sections 13.1, 13.2 and 13.4).

use serde_json::{Value, json};
use wasm_host::{Answer, Failure, Kong, Personality, Setup, Worker};

use crate::exchanges::{chat, request, stream};
use crate::rig::{NAME, config, drain, hosts, pass, start, start_with, wasmx};

/// Kong 3.9 with a filter whose metrics can be scraped.
fn kong() -> Personality {
    wasmx(|wasmx| wasmx.filter_name = "ai_tracing".to_owned())
}

fn count(worker: &Worker, name: &str) -> u64 {
    worker.metrics().get(name).copied().unwrap_or_default()
}

#[test]
fn what_the_gateway_answers_itself_is_an_error_that_costs_nothing() {
    for host in hosts() {
        for status in [502, 504] {
            let mut worker = start(&host);
            drain(&mut worker, 100);
            let call = worker.open(0, &request(true, "Hi"));
            worker.advance_ms(700);
            let passed = worker.fail_upstream(call, status);
            assert_eq!((passed.status, passed.harmed()), (status, false));
            let spans = drain(&mut worker, 100);
            assert_eq!(spans.len(), 1, "{}", host.name());
            let span = &spans[0];
            assert_eq!(span.level(), "ERROR", "{}", host.name());
            assert_eq!(span.text("langfuse.observation.cost_details"), Some(r#"{"total":0}"#));
            assert_eq!(span.metadata("total_duration_ms"), Some(json!(700.0)));
            if host != Personality::envoy() {
                let message = span.message().unwrap_or_default();
                assert!(message.contains("upstream refused, closed or timed out"), "{message}");
                assert_eq!(span.metadata("status_code"), None, "which status it was is not known");
            }
        }
    }
}

#[test]
fn a_client_that_leaves_nginx_before_the_answer_is_no_failure() {
    let setup = Setup::new(kong()).root(NAME, config(&Value::Null)).property("ngx.status", "499");
    let mut worker = start_with(setup);
    drain(&mut worker, 100);
    let call = worker.open(0, &request(true, "Hi"));
    worker.abort(call);
    let spans = drain(&mut worker, 100);
    assert_eq!((spans.len(), spans[0].level()), (1, "WARNING"));
    let message = spans[0].message();
    assert_eq!(message, Some("client disconnected before the answer"));
}

#[test]
fn a_call_ends_with_its_answer_and_not_with_the_log_phase() {
    for host in hosts() {
        for exchange in [chat(), stream()] {
            let mut worker = start(&host);
            drain(&mut worker, 100);
            let call = worker.open(0, &exchange.request);
            worker.advance_ms(100);
            worker.response_head(call, &exchange.response);
            for piece in &exchange.response.pieces {
                worker.advance_ms(50);
                worker.response_piece(call, piece);
            }
            // The client keeps its side open.
            worker.advance_ms(3000);
            worker.finish(call);
            let spans = drain(&mut worker, 100);
            #[expect(clippy::cast_precision_loss, reason = "a few pieces")]
            let expected = 100.0 + 50.0 * exchange.response.pieces.len() as f64;
            assert_eq!(spans[0].metadata("total_duration_ms"), Some(json!(expected)), "{}", host.name());
        }
    }
}

#[test]
fn a_call_whose_context_was_made_anew_is_counted() {
    let mut worker = start(&kong());
    drain(&mut worker, 100);
    pass(&mut worker, 0, &chat());
    drain(&mut worker, 100);
    let (llm, other) = (worker.open(0, &request(false, "Hi")), {
        let mut other = request(false, "Hi");
        other.path = "/index.html".to_owned();
        worker.open(0, &other)
    });
    worker.free_plan();
    for call in [llm, other] {
        worker.response_head(call, &chat().response);
        assert!(!worker.finish(call).harmed());
    }
    // Which host it is, a new instance learns with its first whole request.
    pass(&mut worker, 0, &chat());
    assert_eq!(drain(&mut worker, 100).len(), 1);
    assert_eq!(count(&worker, "ai_tracing_traces_dropped_reason=reset"), 1);
    assert_eq!((count(&worker, "ai_tracing_traces_offered"), count(&worker, "ai_tracing_traces_sent")), (3, 2));
}

/// A Langfuse that answers each call after so long, or never; and whatever else happens in a second of a busy worker.
struct Busy {
    worker: Worker,
    latency_ms: Option<u64>,
    sent: usize,
}

impl Busy {
    fn new(latency_ms: Option<u64>) -> Self {
        let worker = start_with(Setup::new(kong()).root(NAME, config(&json!({"langfuse_timeout": 5000}))));
        Self { worker, latency_ms, sent: 0 }
    }

    /// Lets `ms` pass with a call of `root` every 50 ms, none of which may come to harm.
    fn run(&mut self, root: usize, ms: u64) {
        let mut at_once = chat();
        (at_once.think_ms, at_once.gap_ms) = (0, 0);
        for step in 0..ms / 10 {
            self.worker.advance_ms(10);
            self.answer();
            if step % 5 == 0 {
                pass(&mut self.worker, root, &at_once);
            }
        }
    }

    fn answer(&mut self) {
        let now = self.worker.now_ns();
        for call in self.worker.callouts() {
            if self.latency_ms.is_some_and(|ms| now - call.since_ns >= ms * 1_000_000) {
                self.sent += crate::rig::read_spans(&call).len();
                self.worker.answer(call.token, Answer::status(200));
            }
        }
    }
}

#[test]
fn a_changed_chain_harms_nobody_at_any_latency() {
    for latency_ms in [Some(0), Some(1), Some(150), None] {
        let mut busy = Busy::new(latency_ms);
        busy.run(0, 7000);
        let mut root = 0;
        for change in 0..24 {
            let config = config(&json!({"langfuse_timeout": 5000, "release": change.to_string()}));
            root = busy.worker.replace_config(root, config).unwrap();
            // The collector comes when it likes, or not before the next change.
            busy.run(root, 150 + change * 37 % 600);
            if change % 4 != 3 {
                busy.worker.free_plan();
            }
            busy.run(root, 300);
        }
        busy.run(root, 10_000);
        assert_eq!(busy.worker.crashed(), None, "{latency_ms:?}");
        assert!(busy.worker.take_violations().is_empty());
        assert!(latency_ms.is_none() || busy.sent > 0, "and in the end traces are sent again");
        let timers: usize = (0..=root).map(|root| busy.worker.timers(root)).sum();
        assert!(timers <= 3, "{timers} timers are left of 24 changes");
    }
}

#[test]
fn behind_a_change_a_slow_langfuse_is_called_seldom_and_a_near_one_at_once() {
    for (latency_ms, calls_in_a_minute) in [(1, 3..=60), (150, 0..=1)] {
        let mut busy = Busy::new(Some(latency_ms));
        busy.run(0, 5000);
        let root = busy.worker.replace_config(0, config(&json!({"release": "2"}))).unwrap();
        let before = busy.worker.host_calls("proxy_http_call");
        busy.run(root, 59_000);
        let calls = busy.worker.host_calls("proxy_http_call") - before;
        assert!(calls_in_a_minute.contains(&calls), "{latency_ms} ms: {calls}");
    }
}

#[test]
fn calls_are_under_way_for_a_twentieth_of_the_time() {
    let mut busy = Busy::new(Some(200));
    busy.run(0, 1000);
    let mut under_way = 0;
    for _ in 0..6000 {
        busy.run(0, 10);
        under_way += busy.worker.callouts().len();
    }
    assert!((100..=300).contains(&under_way), "of 6000 looks {under_way} saw a call");
    assert!(busy.sent > 900, "and yet all is sent: {}", busy.sent);
}

/// An instance that goes on for another says nothing of what is well, and calls nobody for that.
#[test]
fn an_instance_that_was_made_anew_is_silent_until_it_has_something_to_send() {
    let mut worker = start(&kong());
    drain(&mut worker, 100);
    let lines = worker.filter_log().len();
    let calls = worker.host_calls("proxy_http_call");
    for _ in 0..5 {
        worker.free_plan();
        worker.advance_ms(10_000);
    }
    assert_eq!((worker.filter_log().len(), worker.host_calls("proxy_http_call")), (lines, calls));
    pass(&mut worker, 0, &chat());
    assert_eq!(drain(&mut worker, 100).len(), 1);
}

#[test]
fn a_dead_langfuse_is_said_by_an_instance_that_was_made_anew() {
    let mut worker = start(&Personality::kong(Kong::V3_9));
    drain(&mut worker, 100);
    worker.free_plan();
    pass(&mut worker, 0, &chat());
    let call = crate::rig::wait_for_call(&mut worker);
    worker.answer(call.token, Answer::Failed(Failure::Refused));
    assert!(worker.filter_log().iter().any(|line| line.contains("no answer")), "{:?}", worker.filter_log());
}
