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
    worker.lose_instance();
    worker.advance_ms(10);
    assert_eq!((worker.filter_log().len(), worker.timers(0)), (4, 2));
}
