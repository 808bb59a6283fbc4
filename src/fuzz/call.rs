//! Whole calls, as a host feeds them, of each family and of a configured provider.

use super::Input;
use super::exchange::{Ending, Exchange, Way};
use super::input::part;
use crate::config::Settings;
use crate::headers::Header;
use crate::provider::{Api, FAMILIES, When};

/// A provider that is described, as in README.md.
const DESCRIBED: &str = r#"{"providers":[{"name":"acme","path":"engines/*/answer","request":{"input":"/question/text"},
    "response":{"model":"/engine/version","id":"/uid","output":"/answers/0/text","reasoning":"/thoughts",
    "finish_reason":"/end","error":"/problem"},"stream":{"delta":"/piece"},
    "usage":{"input":"/n/in","output":"/n/out","cache_read_input_tokens":"/n/cached","cost":"/usd"},
    "input_includes_cache":false}],"prices":[{"model":"e-*","input":0.1,"output":0.4,"cached":0}]}"#;

/// A call of the entry of that number of [`FAMILIES`]: of which of its APIs and paths, the first character tells.
pub(super) fn family(number: usize, data: &[u8]) {
    let apis = FAMILIES.get(number).copied().unwrap_or_default();
    let paths: Vec<(&Api, &str)> = apis.iter().flat_map(|api| api.paths.iter().map(move |path| (api, *path))).collect();
    let mut input = Input::new(data);
    let (api, pattern) = input.pick(&paths);
    let mut way = Way { host: b"", header: None, model: "model" };
    match first(&api.when) {
        When::Host(host) => way.host = host.as_bytes(),
        When::Header(name) => way.header = Some(name),
        When::Model(part) => way.model = part,
        When::Always | When::Member(_) | When::Any(_) => {}
    }
    let path = format!("/{}", pattern.replace('*', way.model).trim_start_matches('/'));
    let settings = settings("{}");
    let mut exchange = Exchange::new(&settings, &path);
    exchange.request_headers.push((b":authority", way.host));
    exchange.request_headers.extend(way.header.map(|name| (name.as_bytes(), &b"1"[..])));
    fill(&mut exchange, input);
}

/// A call of a configured provider.
pub(super) fn custom(data: &[u8]) {
    let settings = settings(DESCRIBED);
    fill(&mut Exchange::new(&settings, "/api/engines/e-1/answer"), Input::new(data));
}

/// One condition that fulfils `when`.
fn first(when: &When) -> &When {
    if let When::Any([one, ..]) = when { first(one) } else { when }
}

fn settings(text: &str) -> Settings {
    Settings::load(text.as_bytes(), &|_| None).expect("a configuration")
}

/// The rest of the head (status, content type, ending, limits, split) and both bodies.
fn fill<'a>(exchange: &mut Exchange<'a>, mut input: Input<'a>) {
    exchange.status = input.pick(&[Some(200), Some(400), Some(429), Some(500), None, Some(204), Some(101)]);
    let content_type: &[u8] = input.pick(&[
        &b"application/json"[..],
        b"text/event-stream; charset=utf-8",
        b"application/x-ndjson",
        b"application/vnd.amazon.eventstream",
        b"",
        b"text/plain",
        b"application/stream+json",
    ]);
    exchange.response_headers.push((b"content-type", content_type));
    exchange.ending = input.pick(&Ending::ALL);
    exchange.limit(input.choose(4));
    let seed = input.seed();
    (exchange.request, exchange.response) = part(input.rest());
    exchange.frames = content_type.ends_with(b"eventstream");
    exchange.check(seed);
}

/// Configurations of whom to believe and where to look.
const CONTEXTS: [&str; 4] = [
    "{}",
    r#"{"verified_jwt":"header:authorization","trust_caller":"authenticated","parent":"trust"}"#,
    r#"{"trust_caller":"none","response_headers":true,"context":{"user":["header:x-a#/b","body:/a/0","default"],
        "session":"baggage:s","tags":["header:x-t","body:/t","claim:t"],"metadata":{"m":"body:/m","*":["header:x-m-*","baggage:m-*"]}}}"#,
    r#"{"parent":"ignore","response_headers":true,"verified_jwt":"header:x-jwt",
        "context":{"environment":"header:x-e","trace_id":["header:x-i","default"],"metadata":{"c":"claim:/a/b"}}}"#,
];

/// The same under a configuration of the context, which the first character chooses.
pub(super) fn context(data: &[u8]) {
    let mut input = Input::new(data);
    let config = input.pick(&CONTEXTS);
    with_headers(config, input);
}

/// Headers as they are sent: those of the request and of the response, one a line, each before its body.
pub(super) fn headers(data: &[u8]) {
    with_headers("{}", Input::new(data));
}

fn with_headers(config: &str, mut input: Input<'_>) {
    let seed = input.seed();
    let (request_headers, rest) = part(input.rest());
    let (request, rest) = part(rest);
    let (response_headers, response) = part(rest);
    let request_headers = lines(request_headers);
    let path = request_headers.iter().find(|(name, _)| *name == b":path").map(|(_, path)| *path);
    let path = String::from_utf8_lossy(path.unwrap_or(b"/v1/chat/completions"));
    let settings = settings(config);
    let mut exchange = Exchange::new(&settings, &path);
    exchange.request_headers.extend(request_headers);
    exchange.response_headers.extend(lines(response_headers));
    (exchange.request, exchange.response) = (request, response);
    exchange.check(seed);
}

/// `name: value` lines.
fn lines(text: &[u8]) -> Vec<Header<'_>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let header = |line| {
        let at = memchr::memmem::find(line, b": ").unwrap_or(line.len());
        let (name, value): (&[u8], &[u8]) = line.split_at(at);
        (name, value.get(2..).unwrap_or_default())
    };
    lines.map(header).take(100).collect()
}
