//! HTTP calls: what is refused, how they are answered, and what is lost (hosts.md, sections 2, 4 and 10).

use wasm_host::{Answer, Envoy, Exchange, Failure, Kong, Personality, Request, Response, Rule, Setup, Worker, find};

use crate::cases::{HEADERS, kong};
use crate::guest::Guest;

/// Calls at each tick, and logs `answered` or, where there are no headers, `failed`.
fn caller(upstream: &str) -> Guest {
    let mut guest = Guest::new();
    let call = guest.http_call(upstream, HEADERS);
    let (answered, failed) = (guest.log("answered"), guest.log("failed"));
    let told = format!("(if (local.get 2) (then {answered}) (else {failed}))");
    guest.on("proxy_on_tick", call).on("proxy_on_http_call_response", told)
}

fn start(host: Personality, guest: &Guest) -> Worker {
    Worker::start(&guest.module(), Setup::new(host).root("tap", "")).unwrap()
}

fn after(host: Personality, answer: Answer) -> Vec<String> {
    let mut worker = start(host, &caller("h:80"));
    worker.tick_now(0);
    let call = worker.callouts().remove(0);
    assert_eq!((call.upstream.as_str(), call.root, call.timeout_ms), ("h:80", 0, 1000));
    assert_eq!(call.header(":method"), Some(&b"POST"[..]));
    worker.answer(call.token, answer);
    assert!(worker.callouts().is_empty());
    worker.filter_log()
}

#[test]
fn every_host_tells_of_an_answer() {
    for host in [Personality::envoy(), Personality::nginx()].into_iter().chain(Kong::ALL.map(Personality::kong)) {
        assert_eq!(
            after(host.clone(), Answer::status(200).header("a", "b").body("c")),
            ["answered"],
            "{}",
            host.name()
        );
    }
}

#[test]
fn a_failure_is_an_answer_on_envoy_a_callback_on_kong_39_and_nothing_before() {
    for failure in [Failure::Refused, Failure::Broken, Failure::Timeout] {
        assert_eq!(after(Personality::envoy(), Answer::Failed(failure)), ["answered"]);
        assert_eq!(after(Personality::kong(Kong::V3_9), Answer::Failed(failure)), ["failed"]);
        assert!(after(Personality::kong(Kong::V3_8), Answer::Failed(failure)).is_empty());
    }
}

#[test]
fn a_call_that_nobody_answers_times_out_by_itself_unless_it_hangs() {
    let mut worker = start(Personality::kong(Kong::V3_9), &caller("h:80"));
    worker.tick_now(0);
    worker.advance_ms(999);
    assert!(worker.filter_log().is_empty());
    worker.advance_ms(1);
    assert_eq!(worker.filter_log(), ["failed"]);
    worker.tick_now(0);
    worker.answer(worker.callouts()[0].token, Answer::Hangs);
    worker.advance_ms(3_600_000);
    assert_eq!((worker.callouts().len(), worker.filter_log().len()), (1, 1));
}

#[test]
fn envoy_refuses_clusters_by_status_and_loses_nothing() {
    let envoy = Envoy {
        clusters: Some(vec!["known".to_owned(), "sick".to_owned()]),
        unhealthy: vec!["sick".to_owned()],
        ..Envoy::default()
    };
    for (cluster, calls) in [("known", 1), ("sick", 0), ("unknown", 0)] {
        let mut worker = start(Personality::Envoy(envoy.clone()), &caller(cluster));
        worker.tick_now(0);
        assert_eq!((worker.callouts().len(), worker.leaked_connections()), (calls, 0), "{cluster}");
    }
}

#[test]
fn wasmx_takes_addresses_and_nothing_else() {
    for address in ["h", "h:8080", "192.0.2.1:1", "[2001:db8::1]:443", "[::1]", "unix:/run/l.sock"] {
        let mut worker = start(kong(|_| {}), &caller(address));
        worker.tick_now(0);
        assert_eq!(worker.callouts().len(), 1, "{address}");
    }
    for nonsense in ["", "http://h", "h:0", "h:65536", "h:x", ":80", "[::1", "unix:x", "h/path"] {
        let mut worker = start(kong(|_| {}), &caller(nonsense));
        worker.tick_now(0);
        assert_eq!(worker.take_violations()[0].rule, Rule::CallRefused, "{nonsense}");
    }
}

#[test]
fn when_all_connections_are_lost_every_request_fails() {
    let mut worker = start(kong(|wasmx| wasmx.worker_connections = 3), &caller("http://h"));
    let exchange = Exchange::new(Request::post("/", "q"), Response::json(200, "{}"));
    for lost in 0..3 {
        assert_eq!(worker.leaked_connections(), lost);
        assert!(!worker.exchange(0, &exchange).harmed());
        worker.tick_now(0);
    }
    let passed = worker.exchange(0, &exchange);
    assert_eq!((passed.status, passed.request_body, passed.harm.len()), (500, None, 1));
    assert_eq!(worker.take_violations().len(), 3);
}

#[test]
fn a_call_from_a_request_that_continues_takes_the_worker_down_unless_it_was_answered() {
    let mut guest = Guest::new();
    let call = guest.http_call("h", HEADERS);
    let guest = guest.on("proxy_on_request_headers", call);
    let mut worker = start(kong(|_| {}), &guest);
    let stream = worker.open(0, &Request::post("/", "q"));
    worker.answer(worker.callouts()[0].token, Answer::status(200));
    worker.response_head(stream, &Response::json(200, "{}"));
    assert!(!worker.finish(stream).harmed());
    let stream = worker.open(0, &Request::post("/", "q"));
    assert!(worker.finish(stream).harmed());
    assert_eq!(worker.crashed(), Some(Rule::CallAndContinue));
    assert_eq!(worker.take_violations().len(), 2);
}

#[test]
fn header_lists_are_found_in_any_case() {
    let headers = vec![("Content-Type".to_owned(), b"a".to_vec())];
    assert_eq!((find(&headers, "content-type"), find(&headers, "accept")), (Some(&b"a"[..]), None));
}

#[test]
fn kong_39_says_why_there_is_no_answer() {
    for (failure, why) in [(Failure::Timeout, "timeout"), (Failure::Broken, "broken connection")] {
        let mut guest = Guest::new();
        let call = guest.http_call("h:80", HEADERS);
        let out = "(i32.const 16) (i32.const 20)";
        let (status, outcome) = (guest.text(":status"), guest.text(":dispatch_status"));
        let none = guest.log("no status");
        let read = |name: &str| format!("(call $proxy_get_header_map_value (i32.const 6) {name} {out})");
        let told = format!(
            "(if {} (then {none})) (drop {}) (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20))))",
            read(&status),
            read(&outcome)
        );
        let mut worker = start(
            Personality::kong(Kong::V3_9),
            &guest.on("proxy_on_tick", call).on("proxy_on_http_call_response", told),
        );
        worker.tick_now(0);
        worker.answer(worker.callouts()[0].token, Answer::Failed(failure));
        assert_eq!(worker.filter_log(), ["no status", why]);
    }
}
