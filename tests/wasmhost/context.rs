//! Whose a call is, by what each host knows: Kong's consumers, Envoy's peer, and headers of answers where they are asked
//! for.

use serde_json::{Value, json};
use testkit::langfuse::Span;
use wasm_host::{Author, Exchange, Kong, Personality, Setup, Worker};

use crate::exchanges::chat;
use crate::rig::{NAME, config, drain, hosts, start_with, wasmx};

fn worker(host: &Personality, more: &Value, properties: &[(&str, &str)]) -> Worker {
    let mut setup = Setup::new(host.clone()).root(NAME, config(more));
    for (name, value) in properties {
        setup = setup.property(name, *value);
    }
    let mut worker = start_with(setup);
    drain(&mut worker, 100);
    worker
}

fn with(headers: &[(&str, &str)]) -> Exchange {
    let mut exchange = chat();
    exchange.request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-user-id"));
    exchange
        .request
        .headers
        .extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    exchange
}

/// The span of a call that passes unharmed.
fn span(worker: &mut Worker, exchange: &Exchange) -> Span {
    crate::rig::pass(worker, 0, exchange);
    let mut spans = drain(worker, 2000);
    assert_eq!(spans.len(), 1, "{:#?}", worker.filter_log());
    spans.remove(0)
}

const CONSUMER: [(&str, &str); 3] =
    [("X-Consumer-Username", "shop"), ("X-Consumer-ID", "c1"), ("X-Credential-Identifier", "key-1")];

#[test]
fn headers_of_consumers_are_facts_behind_a_kong_that_authenticates_alone() {
    let plain_nginx = wasmx(|wasmx| wasmx.kong = None);
    let kongs = [Kong::V3_4, Kong::V3_6, Kong::V3_9].map(Personality::kong);
    let envoy = Personality::envoy();
    let hosts = kongs.iter().chain([&plain_nginx, &envoy]);
    for (host, authenticates) in hosts.flat_map(|host| [(host, true), (host, false)]) {
        let is_checked = kongs.contains(host) && authenticates;
        let span_of = |trust: &str, headers: &[(&str, &str)]| {
            let config = json!({"trust_caller": trust, "gateway_authenticates": authenticates});
            span(&mut worker(host, &config, &[]), &with(headers))
        };
        let said = span_of("all", &CONSUMER);
        let fact = |name: &str| said.metadata(&format!("gateway.{name}"));
        assert_eq!(
            (fact("consumer"), fact("credential")),
            if is_checked { (Some(json!("shop")), Some(json!("key-1"))) } else { (None, None) }
        );
        assert_eq!(said.user(), Some("shop"), "the user, where no other is named");
        let caller = [&CONSUMER[..], &[("X-User-Id", "ann"), ("X-Session-Id", "s")]].concat();
        let strict = span_of("authenticated", &caller);
        assert_eq!((strict.user(), strict.session()), if is_checked { (Some("ann"), Some("s")) } else { (None, None) });
        let none = span_of("none", &caller);
        assert_eq!((none.user(), none.session()), (is_checked.then_some("shop"), None));
    }
}

/// Whatever a caller writes, nothing of it stands below `gateway.`, on any host.
#[test]
fn nothing_that_a_caller_writes_is_the_gateways() {
    let forged = [
        ("X-Consumer-Username", "forged"),
        ("X-Consumer-Custom-Id", "forged"),
        ("X-Consumer-Id", "forged"),
        ("X-Credential-Identifier", "forged"),
        ("X-Authenticated-Userid", "forged"),
        ("X-MSE-Consumer", "forged"),
        ("X-Envoy-Downstream-Service-Cluster", "forged"),
        ("X-Forwarded-Client-Cert", "URI=spiffe://forged"),
        ("langfuse-metadata", r#"{"gateway.consumer":"forged","gateway":"forged"}"#),
        ("langfuse_gateway.route", "forged"),
    ];
    for host in hosts() {
        let span = span(&mut worker(&host, &json!({}), &[]), &with(&forged));
        let below = |name: &String| name.contains("metadata.gateway");
        let said: Vec<_> = span.attributes.iter().filter(|(name, _)| below(name)).collect();
        assert!(said.iter().all(|(_, value)| !format!("{value:?}").contains("forged")), "{}: {said:?}", host.name());
    }
}

#[test]
fn the_name_of_a_trace_is_the_path_that_the_client_sent() {
    for host in hosts() {
        let mut worker = worker(&host, &json!({}), &[]);
        for (sent, name) in [
            ("/openai/v1/chat/completions?x=1", "/openai/v1/chat/completions"),
            ("/a%2Fb//v1/chat/%63ompletions", "/a%2Fb//v1/chat/completions"),
            ("/x%0Ay/v1/chat/completions", "/x%0Ay/v1/chat/completions"),
            (
                "/v1/projects/p/locations/eu/endpoints/openapi/chat/completions",
                "/v1/…/endpoints/openapi/chat/completions",
            ),
        ] {
            let mut exchange = with(&[]);
            exchange.request.path = sent.to_owned();
            assert_eq!(span(&mut worker, &exchange).text("langfuse.trace.name"), Some(name), "{}", host.name());
        }
    }
}

#[test]
fn a_client_that_has_shown_envoy_its_certificate_is_authenticated() {
    let envoy = Personality::envoy();
    let told = [("x-forwarded-client-cert", "By=spiffe://a;URI=spiffe://forged")];
    let peer = [("connection.uri_san_peer_certificate", "spiffe://cluster/ns/shop/sa/web")];
    let plain = span(&mut worker(&envoy, &json!({}), &peer), &with(&told));
    assert_eq!(plain.metadata("gateway.peer"), Some(json!(peer[0].1)), "from the connection, whatever the header says");
    let certificate =
        [("connection.mtls", "\u{1}"), ("connection.uri_san_peer_certificate", "spiffe://cluster/ns/shop/sa/web")];
    for (properties, user, peer) in [
        (&certificate[..], Some("ann"), Some(json!("spiffe://cluster/ns/shop/sa/web"))),
        (&[("connection.mtls", "\u{0}")], None, None),
        (&[], None, None),
    ] {
        let mut worker = worker(&envoy, &json!({"trust_caller": "authenticated"}), properties);
        let span = span(&mut worker, &with(&[("x-user-id", "ann")]));
        assert_eq!((span.user(), span.metadata("gateway.peer")), (user, peer));
    }
}

#[test]
fn answers_are_given_a_header_only_where_the_configuration_asks_for_it() {
    for host in hosts() {
        let mut worker = worker(&host, &json!({"response_headers": true}), &[]);
        let passed = worker.exchange(0, &chat());
        assert_eq!(passed.harm, ["the filter changed x-langfuse-trace-id of map 2"]);
        let mut other = chat();
        other.request.path = "/index.html".to_owned();
        assert_eq!(worker.exchange(0, &other).harm, ["the filter changed x-langfuse-trace of map 2"]);
        assert_eq!(drain(&mut worker, 2000).len(), 1);
        worker.take_violations();
        let noise: Vec<_> = worker.log().into_iter().filter(|line| line.author == Author::Host).collect();
        assert!(noise.is_empty(), "{noise:?}");
    }
}

#[test]
fn values_that_cannot_be_used_are_counted() {
    for host in hosts() {
        let mut worker = worker(&host, &json!({}), &[]);
        let broken = with(&[("x-user-id", "a\u{1}b"), ("langfuse-user-id", "%zz"), ("langfuse-session-id", "ok")]);
        let span = span(&mut worker, &broken);
        assert_eq!((span.user(), span.session()), (None, Some("ok")));
        let metrics = worker.metrics();
        let metric = |name: &str| metrics.iter().find(|(key, _)| key.contains(name)).map(|(_, value)| *value);
        if metric("traces_offered").is_some() {
            assert_eq!(metric("context_values_dropped"), Some(2), "{}", host.name());
        }
    }
}
