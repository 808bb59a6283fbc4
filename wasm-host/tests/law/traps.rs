//! What a trap costs, how instances come back, and whose timers go on (hosts.md, sections 2.8, 3 and 5).

use wasm_host::{Envoy, Exchange, Isolation, Personality, Request, Response, Rule, Setup, Worker};

use crate::cases::kong;
use crate::guest::Guest;

fn exchange() -> Exchange {
    Exchange::new(Request::post("/", "q"), Response::json(200, "{}"))
}

/// Logs each start, configuration and tick, sets a tick of 100 ms, and runs `code` in `callback`.
fn lively(callback: &'static str, code: &str) -> Guest {
    let mut guest = Guest::new();
    let (started, configured, ticked) = (guest.log("start"), guest.log("configure"), guest.log("tick"));
    let period = "(drop (call $proxy_set_tick_period_milliseconds (i32.const 100)))";
    guest
        .on("proxy_on_vm_start", started)
        .on("proxy_on_configure", configured + period)
        .on("proxy_on_tick", ticked)
        .on(callback, code)
}

fn start(host: Personality, guest: &Guest, roots: usize) -> Worker {
    let setup = (0..roots).fold(Setup::new(host), |setup, root| setup.root("tap", format!("{{\"root\": {root}}}")));
    Worker::start(&guest.module(), setup).unwrap()
}

fn count(worker: &Worker, text: &str) -> usize {
    worker.filter_log().iter().filter(|line| *line == text).count()
}

#[test]
fn a_trap_in_the_request_is_a_500_on_wasmx_and_the_next_instance_is_configured_but_not_started() {
    let mut worker = start(kong(|_| {}), &lively("proxy_on_request_headers", "unreachable"), 2);
    assert_eq!((count(&worker, "start"), count(&worker, "configure")), (2, 2));
    for configured in [2, 3] {
        let stream = worker.open(1, &exchange().request);
        let passed = worker.finish(stream);
        assert_eq!((passed.status, passed.request_body), (500, None));
        assert_eq!((count(&worker, "start"), count(&worker, "configure")), (2, configured));
    }
    worker.advance_ms(100);
    assert_eq!(count(&worker, "configure"), 5, "the ticks need both roots");
    assert_eq!((worker.take_violations().len(), worker.instances()), (2, 3));
}

#[test]
fn a_trap_in_the_response_costs_the_trace_alone() {
    for callback in ["proxy_on_response_headers", "proxy_on_response_body", "proxy_on_log"] {
        let mut worker = start(kong(|_| {}), &lively(callback, "unreachable"), 1);
        let passed = worker.exchange(0, &exchange());
        assert!(!passed.harmed() && passed.status == 200, "{callback}: {passed:?}");
        assert_eq!(worker.take_violations().len(), 1);
    }
}

#[test]
fn a_trap_takes_the_other_streams_of_the_instance_with_it() {
    let mut worker = start(kong(|_| {}), &lively("proxy_on_response_headers", "unreachable"), 1);
    let (first, second) = (worker.open(0, &exchange().request), worker.open(0, &exchange().request));
    worker.response_head(first, &exchange().response);
    worker.response_head(second, &exchange().response);
    assert!(!worker.finish(first).harmed() && !worker.finish(second).harmed());
    assert_eq!(worker.take_violations().len(), 1, "the second has no callbacks any more");
}

#[test]
fn after_traps_ticks_multiply_on_wasmx() {
    let mut worker = start(kong(|_| {}), &lively("proxy_on_response_headers", "unreachable"), 1);
    for _ in 0..2 {
        worker.exchange(0, &exchange());
    }
    worker.tick_now(0);
    worker.take_violations();
    assert_eq!(worker.timers(0), 3);
    let before = count(&worker, "tick");
    worker.advance_ms(100);
    assert_eq!(count(&worker, "tick") - before, 3);
}

#[test]
fn a_trapping_tick_grows_without_end() {
    let mut worker = start(kong(|_| {}), &lively("proxy_on_tick", "unreachable"), 1);
    worker.advance_ms(500);
    let violations = worker.take_violations();
    assert!(violations.len() > 5 && violations.iter().all(|violation| violation.rule == Rule::TrapInTick));
}

#[test]
fn an_envoy_vm_that_trapped_stays_down_open_or_closed() {
    let guest = lively("proxy_on_request_body", "unreachable");
    let mut worker = start(Personality::envoy(), &guest, 1);
    assert!(!worker.exchange(0, &exchange()).harmed());
    assert!(!worker.exchange(0, &exchange()).harmed());
    assert_eq!(worker.take_violations().len(), 1, "the second passes by the filter");
    let closed = Personality::Envoy(Envoy { fail_closed: true, ..Envoy::default() });
    let mut worker = start(closed, &guest, 1);
    assert_eq!([(); 2].map(|()| worker.exchange(0, &exchange()).status), [503, 503]);
    assert_eq!(worker.take_violations().len(), 1);
}

#[test]
fn isolated_streams_have_their_own_instances_and_leave_timers() {
    for isolation in [Isolation::Stream, Isolation::Filter] {
        let mut worker = start(kong(|wasmx| wasmx.isolation = isolation), &lively("proxy_on_log", ""), 1);
        for _ in 0..3 {
            assert!(!worker.exchange(0, &exchange()).harmed());
        }
        assert_eq!((worker.instances(), count(&worker, "configure"), worker.timers(0)), (4, 4, 4));
    }
}

#[test]
fn the_timer_of_an_isolated_stream_ticks_it_while_it_lasts_and_the_shared_root_for_ever() {
    let mut guest = Guest::new();
    let set = "(drop (call $proxy_set_tick_period_milliseconds (i32.const 100)))";
    let (headers, tick) = (guest.log("headers"), guest.log("tick"));
    let guest = guest.on("proxy_on_configure", set).on("proxy_on_request_headers", headers);
    let guest = guest.on("proxy_on_tick", tick);
    let mut worker = start(kong(|wasmx| wasmx.isolation = Isolation::Stream), &guest, 1);
    // 400 ms until the answer: four ticks of the stream's own timer, and four of the root's.
    worker.exchange(0, &exchange());
    assert_eq!(count(&worker, "tick"), 8);
    worker.advance_ms(100);
    assert_eq!(count(&worker, "tick"), 10, "both go on");
}

#[test]
fn a_sleeping_tick_that_is_set_again_is_doubled_on_wasmx_alone() {
    let set = |ms: u32| format!("(drop (call $proxy_set_tick_period_milliseconds (i32.const {ms})))");
    let mut guest = Guest::new();
    let ticked = guest.log("tick");
    let guest = guest.on("proxy_on_configure", set(100) + &set(0) + &set(100)).on("proxy_on_tick", ticked);
    for (host, ticks) in [(kong(|_| {}), 2), (Personality::envoy(), 1)] {
        let mut worker = start(host, &guest, 1);
        worker.advance_ms(100);
        assert_eq!(count(&worker, "tick"), ticks);
    }
}
