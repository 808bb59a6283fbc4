//! Who gets which body callback, and which of them ends the stream (hosts.md, sections 6 and 10).

use wasm_host::{Ending, Exchange, Framing, Level, Personality, Request, Response, Setup, WasmX, Worker};

use crate::cases::kong;
use crate::guest::{Guest, OUT};

/// Logs its callbacks, as `head`, `body`, `answer`, `piece`, each with `.` where it ends the stream; and `log`.
fn tracer() -> Guest {
    let mut guest = Guest::new();
    let named = [
        ("proxy_on_request_headers", "head"),
        ("proxy_on_request_body", "body"),
        ("proxy_on_response_headers", "answer"),
        ("proxy_on_response_body", "piece"),
    ];
    for (callback, name) in named {
        let (open, ended) = (guest.log(name), guest.log(&format!("{name}.")));
        guest = guest.on(callback, format!("(if (local.get 2) (then {ended}) (else {open}))"));
    }
    let log = guest.log("log");
    guest.on("proxy_on_log", log)
}

fn callbacks(host: &Personality, exchange: &Exchange) -> String {
    let mut worker = Worker::start(&tracer().module(), Setup::new(host.clone()).root("tap", "")).unwrap();
    let passed = worker.exchange(0, exchange);
    assert!(!passed.harmed(), "{passed:?}");
    assert_eq!(passed.response_body, exchange.response.pieces.concat());
    worker.filter_log().join(" ")
}

fn exchange(pieces: &[usize], framing: Framing) -> Exchange {
    let pieces = pieces.iter().map(|length| vec![b'x'; *length]).collect();
    Exchange::new(Request::post("/", "q"), Response::of(200, "text/plain", pieces, framing))
}

#[test]
fn envoy_ends_every_body_with_an_empty_callback() {
    let envoy = Personality::envoy();
    for framing in [Framing::ContentLength, Framing::Chunked, Framing::Close] {
        assert_eq!(callbacks(&envoy, &exchange(&[5, 5], framing)), "head body body. answer piece piece piece. log");
    }
    let mut large = exchange(&[1], Framing::Chunked);
    large.request.body = vec![vec![b'q'; (2 << 20) + 1]];
    assert_eq!(callbacks(&envoy, &large), "head body body body body. answer piece piece. log");
}

#[test]
fn envoy_ends_what_has_no_body_with_its_headers() {
    let mut get = exchange(&[], Framing::ContentLength);
    get.request.body.clear();
    assert_eq!(callbacks(&Personality::envoy(), &get), "head. answer. log");
    let mut no_content = exchange(&[], Framing::Close);
    no_content.response.status = 204;
    assert_eq!(callbacks(&Personality::envoy(), &no_content), "head body body. answer. log");
}

#[test]
fn wasmx_hands_the_request_out_whole_and_ends_a_length_only_in_one_chunk() {
    let wasmx = kong(|_| {});
    assert_eq!(callbacks(&wasmx, &exchange(&[10], Framing::ContentLength)), "head body. answer piece. log");
    assert_eq!(callbacks(&wasmx, &exchange(&[5, 5], Framing::ContentLength)), "head body. answer piece piece log");
    let chunked = "head body. answer piece piece piece. log";
    assert_eq!(callbacks(&wasmx, &exchange(&[5, 5], Framing::Chunked)), chunked);
    assert_eq!(callbacks(&wasmx, &exchange(&[5, 5], Framing::Close)), chunked);
    let mut get = exchange(&[], Framing::ContentLength);
    get.request.body.clear();
    assert_eq!(callbacks(&wasmx, &get), "head answer log");
    let mut no_content = exchange(&[], Framing::ContentLength);
    no_content.response.status = 204;
    assert_eq!(callbacks(&wasmx, &no_content), "head body. answer piece. log");
    let mut head = exchange(&[], Framing::Chunked);
    head.request.method = "HEAD".to_owned();
    assert_eq!(callbacks(&wasmx, &head), "head body. answer log");
}

#[test]
fn wasmx_chunks_are_chains_of_buffers() {
    let pieces = exchange(&[20_000], Framing::Chunked);
    assert_eq!(callbacks(&kong(|_| {}), &pieces), "head body. answer piece piece piece piece. log");
    let one_buffer = kong(|wasmx| wasmx.response_chain = 1);
    assert_eq!(callbacks(&one_buffer, &pieces).matches("piece").count(), 6);
}

#[test]
fn a_response_that_breaks_off_never_ends() {
    for host in [Personality::envoy(), kong(|_| {})] {
        for ending in [Ending::UpstreamCut, Ending::ClientGone] {
            let mut cut = exchange(&[5], Framing::Chunked);
            cut.response.ending = ending;
            assert!(callbacks(&host, &cut).ends_with("answer piece log"), "{}", host.name());
        }
    }
}

#[test]
fn a_request_body_in_a_file_has_a_size_and_no_bytes() {
    let read = format!(
        "(i32.store (i32.const 8) (call $proxy_get_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 99999) (i32.const {OUT}) (i32.const 20)))"
    );
    let mut guest = Guest::new();
    let none = guest.log("none");
    let some = guest.log("some");
    let guest = guest.on(
        "proxy_on_request_body",
        format!("{read} (if (i32.eq (i32.load (i32.const 8)) (i32.const 1)) (then {none}) (else {some}))"),
    );
    let wasmx = WasmX { client_body_buffer_size: 8192, ..WasmX::default() };
    let setup = Setup::new(Personality::WasmX(wasmx)).root("tap", "");
    let mut worker = Worker::start(&guest.module(), setup).unwrap();
    let answer = || Response::json(200, "{}");
    worker.exchange(0, &Exchange::new(Request::post("/", vec![b'q'; 10_240]), answer()));
    assert_eq!(worker.filter_log(), ["some"], "a quarter more than configured stays in memory");
    let passed = worker.exchange(0, &Exchange::new(Request::post("/", vec![b'q'; 10_241]), answer()));
    assert_eq!(passed.request_body.map(|body| body.len()), Some(10_241), "the upstream gets it all the same");
    assert_eq!(worker.filter_log(), ["some", "none"]);
    assert_eq!(worker.log().iter().filter(|line| line.level == Level::Error).count(), 1);
}
