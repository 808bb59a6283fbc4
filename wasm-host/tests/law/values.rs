//! What host calls give: clock, randomness, headers, properties, metrics, and answers in the host's place.

use wasm_host::{Author, Exchange, Kong, Level, Module, Personality, Request, Response, Setup, Worker};

use crate::cases::{define, kong};
use crate::guest::{Guest, OUT};

fn exchange() -> Exchange {
    let mut exchange = Exchange::new(Request::post("/p?q=1", "q"), Response::json(200, "{}"));
    exchange.request = exchange.request.header("X-Case", "kept");
    exchange
}

fn start(host: Personality, guest: &Guest) -> Worker {
    Worker::start(&guest.module(), Setup::new(host).root("tap", "").property("kong.route_name", "chat")).unwrap()
}

/// Code that logs what lies behind the pointer and length at [`OUT`], if the status on the stack is 0; else `none`.
fn log_found(guest: &mut Guest, call: &str) -> String {
    let none = guest.log("none");
    let found =
        format!("(drop (call $proxy_log (i32.const 2) (i32.load (i32.const {OUT})) (i32.load (i32.const 20))))");
    format!("(if {call} (then {none}) (else {found}))")
}

fn property(path: &str, callback: &'static str) -> Guest {
    let mut guest = Guest::new();
    let text = guest.text(path.replace('.', "\0"));
    let call = format!("(call $proxy_get_property {text} (i32.const {OUT}) (i32.const 20))");
    let code = log_found(&mut guest, &call);
    guest.on(callback, code)
}

/// What a property is in `on_log`, and how many lines the host wrote about it.
fn read(host: Personality, path: &str) -> (String, usize) {
    read_in(host, path, "proxy_on_log")
}

fn read_in(host: Personality, path: &str, callback: &'static str) -> (String, usize) {
    let mut worker = start(host, &property(path, callback));
    worker.exchange(0, &exchange());
    let noise = worker.log().iter().filter(|line| line.author == Author::Host).count();
    (worker.filter_log().concat(), noise)
}

#[test]
fn properties_are_strings_on_wasmx_and_numbers_on_envoy() {
    let wasmx = || kong(|_| {});
    assert_eq!(read(wasmx(), "response.code"), ("200".to_owned(), 0));
    assert_eq!(read(Personality::envoy(), "response.code").0.as_bytes()[..2], [0xEF, 0xBF], "not text: 200, 0, 0, …");
    assert_eq!(read(wasmx(), "request.headers.x-case"), ("kept".to_owned(), 0));
    assert_eq!(read(Personality::envoy(), "response.code_details"), ("via_upstream".to_owned(), 0));
    assert_eq!(read(wasmx(), "ngx.pid"), ("4711".to_owned(), 0));
    assert_eq!(read(Personality::envoy(), "ngx.pid"), ("none".to_owned(), 0));
    assert_eq!(read(wasmx(), "route_name"), ("none".to_owned(), 1), "it says so each time");
    assert_eq!(read(wasmx(), "xds.route_name"), ("none".to_owned(), 0));
    assert_eq!(read(Personality::envoy(), "xds.route_name"), ("default".to_owned(), 0));
}

#[test]
fn kong_properties_are_there_from_kong_36() {
    for (version, value) in [(Kong::V3_4, "none"), (Kong::V3_5, "none"), (Kong::V3_6, "chat"), (Kong::V3_9, "chat")] {
        let host = || Personality::kong(version);
        assert_eq!(read_in(host(), "kong.route_name", "proxy_on_request_headers").0, value, "{version:?}");
        assert_eq!(read(host(), "kong.route_name").0, "none", "Kong has forgotten it by then");
    }
    assert_eq!(read(Personality::nginx(), "kong.route_name").0, "none");
    assert_eq!(read(Personality::kong(Kong::V3_7), "kong.version").0, "3.7.1");
}

#[test]
fn a_root_has_no_scoped_properties_and_wasmx_says_so_each_time() {
    for (host, lines) in [(kong(|_| {}), 1), (Personality::envoy(), 0)] {
        let mut worker = start(host, &property("ngx.pid", "proxy_on_tick"));
        worker.tick_now(0);
        assert_eq!(worker.filter_log(), ["none"]);
        assert_eq!(worker.log().iter().filter(|line| line.level == Level::Error).count(), lines);
    }
}

#[test]
fn wasmx_keeps_the_case_of_header_names_and_hands_out_a_hundred() {
    let mut guest = Guest::new();
    let call = format!("(call $proxy_get_header_map_pairs (i32.const 0) (i32.const {OUT}) (i32.const 20))");
    let code = log_found(&mut guest, &call);
    let guest = guest.on("proxy_on_request_headers", code);
    let mut many = exchange();
    (0..150).for_each(|number| many.request.headers.push((format!("x-{number}"), b"v".to_vec())));
    for (host, name, last) in [(kong(|_| {}), "X-Case", false), (Personality::envoy(), "x-case", true)] {
        let mut worker = start(host, &guest);
        worker.exchange(0, &many);
        let pairs = worker.filter_log().concat();
        assert!(pairs.contains(name) && pairs.contains("/p?q=1"), "{pairs}");
        assert_eq!(pairs.contains("x-149"), last);
        let cut = worker.log().iter().any(|line| line.text.contains("truncated to 100"));
        assert_eq!(cut, !last);
    }
}

#[test]
fn the_clock_shows_milliseconds_on_wasmx() {
    let time = format!("(drop (call $proxy_get_current_time_nanoseconds (i32.const {OUT})))");
    let report = "(drop (call $proxy_log (i32.const 2) (i32.const 16) (i32.const 8)))";
    let guest = Guest::new().on("proxy_on_tick", time + report);
    let seen = |host: Personality, add: u64| {
        let mut worker = start(host, &guest);
        worker.set_now_ns(1_600_000_000_000_000_000 + add);
        worker.tick_now(0);
        worker.filter_log().concat()
    };
    assert_eq!(seen(kong(|_| {}), 0), seen(kong(|_| {}), 999_999));
    assert_ne!(seen(kong(|_| {}), 0), seen(kong(|_| {}), 1_000_000));
    assert_ne!(seen(Personality::envoy(), 0), seen(Personality::envoy(), 1));
}

#[test]
fn equal_seeds_give_equal_bytes() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $random (i32.const 0) (i32.const 16)))
            (drop (call $log (i32.const 2) (i32.const 0) (i32.const 16)))))"#;
    let module = Module::from_bytes(&wat::parse_str(wat).unwrap()).unwrap();
    let bytes = |seed: u64| {
        let mut worker = Worker::start(&module, Setup::new(Personality::envoy()).root("tap", "").seed(seed)).unwrap();
        worker.tick_now(0);
        worker.filter_log().concat()
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn metrics_add_up_where_they_are_allowed() {
    let mut guest = Guest::new();
    let counter = define(&mut guest, 0, "c");
    let add = format!("{counter} (drop (call $proxy_increment_metric (i32.load (i32.const {OUT})) (i64.const 2)))");
    let guest = guest.on("proxy_on_tick", add);
    for host in [Personality::envoy(), kong(|wasmx| wasmx.kong = Some(Kong::V3_8))] {
        let mut worker = start(host, &guest);
        worker.tick_now(0);
        worker.tick_now(0);
        assert_eq!(worker.metrics()["c"], 4);
    }
}

#[test]
fn any_host_call_can_be_answered_in_the_hosts_place() {
    let mut guest = property("response.code", "proxy_on_log");
    let tick = guest.log("tick");
    let guest = guest.on("proxy_on_tick", tick);
    let mut worker = start(kong(|_| {}), &guest);
    worker.host_call_answers("proxy_get_property", |nth| (nth == 2).then_some(12));
    (0..3).for_each(|_| drop(worker.exchange(0, &exchange())));
    assert_eq!(
        (worker.filter_log().join(" "), worker.host_calls("proxy_get_property")),
        ("200 none 200".to_owned(), 3)
    );
    worker.host_call_answers("proxy_log", |_| Some(2));
    worker.tick_now(0);
    worker.host_calls_work_again();
    worker.tick_now(0);
    assert_eq!(worker.filter_log().last().map(String::as_str), Some("tick"));
    assert_eq!(worker.filter_log().len(), 4);
}
