//! How exchanges, roots and workers end (hosts.md, sections 3, 5 and 10).

use wasm_host::{Answer, Exchange, Personality, Request, Response, Rule, Setup, Worker};

use crate::cases::{HEADERS, kong};
use crate::guest::Guest;

fn logging(guest: Guest, callbacks: &[(&'static str, &str)]) -> Guest {
    callbacks.iter().fold(guest, |mut guest, (callback, text)| {
        let code = guest.log(text);
        guest.on(callback, code)
    })
}

const ENDS: &[(&str, &str)] = &[("proxy_on_log", "log"), ("proxy_on_done", "done"), ("proxy_on_delete", "delete")];

#[test]
fn envoy_logs_before_it_is_done_and_wasmx_after() {
    let module = logging(Guest::new(), ENDS).module();
    for (host, order) in [(Personality::envoy(), ["log", "done", "delete"]), (kong(|_| {}), ["done", "log", "delete"])]
    {
        let mut worker = Worker::start(&module, Setup::new(host).root("tap", "")).unwrap();
        worker.exchange(0, &Exchange::new(Request::post("/", "q"), Response::json(200, "{}")));
        assert_eq!(worker.filter_log(), order);
    }
}

#[test]
fn an_envoy_root_may_go_on_until_proxy_done() {
    let mut guest = Guest::new();
    let call = guest.http_call("cluster", HEADERS);
    let guest = guest
        .on("proxy_on_done", call)
        .answer("proxy_on_done", 0)
        .on("proxy_on_http_call_response", "(drop (call $proxy_done))");
    let module = logging(guest, &[("proxy_on_delete", "delete")]).module();
    let mut worker = Worker::start(&module, Setup::new(Personality::envoy()).root("tap", "")).unwrap();
    worker.stop();
    assert!(!worker.has_ended(0) && worker.filter_log().is_empty());
    worker.answer(worker.callouts()[0].token, Answer::status(200));
    assert!(worker.has_ended(0));
    assert_eq!(worker.filter_log(), ["delete"]);
}

#[test]
fn a_wasmx_worker_that_quits_tells_no_root_and_finishes_its_streams() {
    let ticks = logging(Guest::new(), &[("proxy_on_tick", "tick")]);
    let module = logging(ticks, ENDS).module();
    let mut worker = Worker::start(&module, Setup::new(kong(|_| {})).root("tap", "")).unwrap();
    let stream = worker.open(0, &Request::post("/", "q"));
    worker.stop();
    worker.tick_now(0);
    assert!(worker.filter_log().is_empty());
    worker.response_head(stream, &Response::json(200, "{}"));
    assert!(!worker.finish(stream).harmed());
    assert_eq!(worker.filter_log(), ["done", "log", "delete"]);
}

#[test]
fn a_refused_configuration_keeps_the_old_one_on_envoy() {
    // Refuses whatever is longer than one byte.
    let mut guest = Guest::new();
    let refuse = guest.log("refused");
    let guest = guest.on(
        "proxy_on_configure",
        format!("(if (i32.gt_u (local.get 1) (i32.const 1)) (then {refuse} (return (i32.const 0))))"),
    );
    let module = logging(guest, &[("proxy_on_tick", "tick")]).module();
    let mut worker = Worker::start(&module, Setup::new(Personality::envoy()).root("tap", "1")).unwrap();
    assert_eq!(worker.replace_config(0, "22"), None);
    assert_eq!(worker.take_violations()[0].rule, Rule::StartRefused);
    worker.tick_now(0);
    let new = worker.replace_config(0, "3").unwrap();
    worker.tick_now(new);
    worker.end_root(0);
    worker.tick_now(0);
    assert_eq!(worker.filter_log(), ["refused", "tick", "tick"]);
    let cold = Worker::start(&module, Setup::new(Personality::envoy()).root("tap", "22"));
    assert_eq!(cold.err().map(|error| error.violation.rule), Some(Rule::StartRefused));
}

#[test]
fn on_kong_an_old_root_goes_on_beside_the_new_one() {
    let period = "(drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))";
    let module = logging(Guest::new().on("proxy_on_configure", period), &[("proxy_on_tick", "tick")]).module();
    let mut worker = Worker::start(&module, Setup::new(kong(|_| {})).root("tap", "1")).unwrap();
    worker.replace_config(0, "2").unwrap();
    worker.advance_ms(10);
    assert_eq!(worker.filter_log().len(), 2);
    worker.free_plan();
    worker.advance_ms(10);
    assert_eq!((worker.filter_log().len(), worker.timers(0)), (4, 2));
}

/// A guest that sets a timer when it is configured, and logs ticks.
fn ticking() -> Guest {
    let period = "(drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))";
    logging(Guest::new().on("proxy_on_configure", period), &[("proxy_on_tick", "tick")])
}

#[test]
fn a_timer_outlives_the_root_that_a_request_has_replaced_and_ticks_the_new_one() {
    let mut worker = Worker::start(&ticking().module(), Setup::new(kong(|_| {})).root("tap", "1")).unwrap();
    for freed in 1..=3 {
        worker.free_plan();
        worker.exchange(
            0,
            &Exchange { think_ms: 0, ..Exchange::new(Request::post("/", "q"), Response::json(200, "{}")) },
        );
        assert_eq!(worker.timers(0), 1 + freed, "each time one more, for ever");
    }
    let before = worker.filter_log().len();
    worker.advance_ms(10);
    assert_eq!(worker.filter_log().len() - before, 4);
}

#[test]
fn a_root_that_sets_no_timer_when_its_own_makes_it_anew_has_none_left() {
    let once = "(if (i32.eqz (i32.load (i32.const 32))) (then
        (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))))";
    let module = logging(Guest::new().on("proxy_on_vm_start", once), &[("proxy_on_tick", "tick")]).module();
    let mut worker = Worker::start(&module, Setup::new(kong(|_| {})).root("tap", "1")).unwrap();
    worker.advance_ms(20);
    worker.free_plan();
    worker.advance_ms(100);
    assert_eq!((worker.filter_log().len(), worker.timers(0)), (3, 0), "the tick that made it anew was the last");
}

#[test]
fn a_stream_whose_instance_was_freed_goes_on_in_a_new_context() {
    let steps = [
        ("proxy_on_context_create", "create"),
        ("proxy_on_request_headers", "request"),
        ("proxy_on_response_headers", "response"),
    ];
    let module = logging(logging(Guest::new(), &steps), ENDS).module();
    let mut worker = Worker::start(&module, Setup::new(kong(|_| {})).root("tap", "1")).unwrap();
    let stream = worker.open(0, &Request::post("/", "q"));
    worker.free_plan();
    worker.response_head(stream, &Response::json(200, "{}"));
    assert!(!worker.finish(stream).harmed());
    let log = worker.filter_log();
    assert_eq!(log, ["create", "create", "request", "create", "create", "response", "done", "log", "delete"]);
    // The next one ends before its next callback: nothing is called for it any more.
    let stream = worker.open(0, &Request::post("/", "q"));
    worker.free_plan();
    worker.fail_upstream(stream, 502);
    assert_eq!(worker.filter_log().len(), log.len() + 2);
}

#[test]
fn what_nginx_answers_itself_ends_with_the_deletion_alone_and_on_envoy_as_ever() {
    for (host, told) in [(Personality::envoy(), &["log", "done", "delete"][..]), (kong(|_| {}), &["delete"])] {
        let mut worker =
            Worker::start(&logging(Guest::new(), ENDS).module(), Setup::new(host).root("tap", "")).unwrap();
        let stream = worker.open(0, &Request::post("/", "q"));
        let passed = worker.fail_upstream(stream, 502);
        assert_eq!((passed.status, passed.harmed()), (502, false));
        assert_eq!(worker.filter_log(), told);
    }
}
