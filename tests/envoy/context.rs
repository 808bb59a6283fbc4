//! Whose a call is, as far as only the real Envoy can tell: headers of answers, Envoy's own properties, claims that its
//! `jwt_authn` has verified, and the trace that the predecessor's guide promises.

use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::http1::headers;
use testkit::langfuse::Span;
use testkit::upstream::Script;

use crate::calls::{answer, chat, question};
use crate::rig::{Rig, unwanted};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// `{"iss":"tests","sub":"ann@example.com","realm":{"name":"shop"},"roles":["admin","dev"]}`, signed with the key of
/// [`MODULUS`], whose private part is thrown away.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3QifQ.eyJpc3MiOiJ0ZXN0cyIsInN1YiI6ImFubkBleGFtcGxlLmNvbSIsInJlYWxtI\
jp7Im5hbWUiOiJzaG9wIn0sInJvbGVzIjpbImFkbWluIiwiZGV2Il19.MZzqZXQvp89a0oV3TlXR9t__Rtlk7DFhUfkISMsTPyJq\
BhqR3VSOwhEkdwK28VB4W0aOlCVbSlm0u8K4kUFudM72QoJ1YnkqCB2bs4wrlT_3oW2U052FTE8h7LSfHER8NjfGYOZu1K3RVclU\
PDkLJYo7L8CLnHFcYE9u_SUFGvtyoBSuMH_LkDiszFRZc-3yfVb8KGdjW9PD1kVGbGaD9F9L1qhmB7aB2_zD5uzyAbGrdWkKQovL\
Yc99LhPpPG5WiZQxzHxuMT1JELR1eW--LAQdsdyAnV0H1ua7ulnsqairc4xmruV7rEPwXx_jHiDce1ojZ5risIp1Wlucz4GsNg";
const MODULUS: &str = "oRgN1swCYP2TeZVt0th1fENv7s2vU8hl5poivlg9bcIpByytyCL1YCxZcSBpG-PHlHs9BJoYIKT343n4MUezFQNcaQXtNPljuVjB\
kMgJeNEhjOCljAmXU2TKrrLWQN_iEDdnX5GuqIWnBIKbqVyAFyIsDjxGFSHt1bHlP9bfTljfGa-tRBf6Ux9xzRV-Frs0jMlBP1xK\
XlCpX0SiredLaD8ZigQsATYbzMqJXMUimGpiR0Nddk-LIHi_n5Q7pOVDT5i83HStJMyKvrms-wel0_E3eE4cbdXq3EkPYDwB0wd-\
GxpRCflJW2yFKQTlFQwQINNt9gg2b1xV_isEDriVBw";

fn header(response: &Response, name: &str) -> Option<String> {
    let found = response.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| String::from_utf8_lossy(value.as_ref()).into_owned())
}

fn said(request: Request, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.with_header(name, value.as_bytes().to_vec()))
}

fn assert_readings(span: &Span, wanted: &[(&str, Value)]) {
    assert_eq!(unwanted("span", span, wanted), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_the_trace_or_why_there_is_none_where_they_are_to() {
    let rig = Rig::start(json!({"response_headers": true})).await;
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    for (request, trace) in [
        (question(), None),
        (said(question(), &[("traceparent", &traceparent)]), Some(TRACE)),
        (chat(&json!({"model": "m", "messages": [], "metadata": {"trace_id": TRACE}})), Some(TRACE)),
        (said(question(), &[("x-opencode-session", "s"), ("x-opencode-request", "1")]), None),
    ] {
        let response = rig.replay(request, answer()).await;
        let span = rig.take_span().await;
        assert_eq!(header(&response, "x-langfuse-trace-id").as_deref(), Some(span.trace_id.as_str()));
        assert!(trace.is_none_or(|trace| trace == span.trace_id));
        assert_eq!(header(&response, "x-langfuse-trace"), None);
    }
    for (request, reason) in [
        (Request { path: "/index.html".into(), ..question() }, "not_ai"),
        (Request { path: "/health".into(), ..question() }, "ignored_path"),
        (Request { method: "GET".into(), body: Vec::new(), ..question() }, "method"),
    ] {
        let response = rig.replay(request, answer()).await;
        assert_eq!(header(&response, "x-langfuse-trace"), Some(format!("skipped;reason={reason}")));
        assert_eq!(header(&response, "x-langfuse-trace-id"), None);
    }
    let forged = headers(&[("content-type", "application/json"), ("x-langfuse-trace-id", "forged")]);
    let upstreams_own = Script { headers: forged, ..Script::json(200, &json!({})) };
    let response = rig.replay(question(), upstreams_own).await;
    let span = rig.take_span().await;
    assert_eq!(header(&response, "x-langfuse-trace-id").as_deref(), Some(span.trace_id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_left_alone_unless_the_configuration_asks() {
    let rig = Rig::start(json!({})).await;
    for path in ["/v1/chat/completions", "/index.html"] {
        let response = rig.replay(Request { path: path.into(), ..question() }, answer()).await;
        assert!(response.headers.iter().all(|(name, _)| !name.to_ascii_lowercase().contains("langfuse")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_route_and_cluster_are_facts_that_no_caller_can_forge() {
    let rig = Rig::start(json!({"context": {"metadata": {"from": "property:/xds/route_name"}}})).await;
    let forged =
        json!({"gateway": {"route": "forged"}, "gateway.route": "forged", "gateway.consumer": "forged", "k": "v"});
    let request = chat(&json!({"model": "m", "messages": [], "metadata": forged}));
    rig.replay(said(request, &[("x-consumer-username", "forged")]), answer()).await;
    assert_readings(
        &rig.take_span().await,
        &[
            ("meta:gateway.route", json!("everything")),
            ("meta:gateway.service", json!("upstream")),
            ("meta:gateway.consumer", Value::Null),
            ("meta:gateway", Value::Null),
            ("meta:caller_gateway.route", json!("forged")),
            ("meta:caller_gateway.consumer", json!("forged")),
            ("meta:from", json!("everything")),
            ("meta:k", json!("v")),
        ],
    );
}

/// Envoy verifies tokens before the filter, and leaves their payload in its metadata and in a header.
fn verifying(bootstrap: &mut Value) {
    let jwks = json!({"keys": [{"kty": "RSA", "kid": "test", "alg": "RS256", "n": MODULUS, "e": "AQAB"}]});
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"tests": {
                "issuer": "tests", "forward": true, "payload_in_metadata": "payload",
                "forward_payload_header": "x-jwt-payload", "local_jwks": {"inline_string": jwks.to_string()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                {"provider_name": "tests"}, {"allow_missing": {}},
            ]}}}],
        },
    });
    let chain = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filters = chain["typed_config"]["http_filters"].as_array_mut().expect("filters");
    filters.insert(0, filter);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_envoy_has_verified_are_found_where_the_configuration_says() {
    let bearer = format!("Bearer {TOKEN}");
    for place in ["metadata:payload", "header:authorization", "header:x-jwt-payload"] {
        let context = json!({"user": ["claim:sub"], "metadata": {"realm": "claim:/realm/name"}});
        let config = json!({"verified_jwt": place, "trust_caller": "authenticated", "context": context});
        let rig = Rig::start_with(config, |options| options.customise = Some(verifying)).await;
        let request = said(question(), &[("langfuse-session-id", "s1")]);
        // The payload in a header is Envoy's change, not the filter's: the request is not what the client sent.
        let (id, with_token) = rig.scripted(said(request.clone(), &[("authorization", &bearer)]), answer());
        testkit::client::send(rig.envoy.addr(), with_token).await;
        rig.upstream.wait_for_received(&id, 1, crate::rig::SOON).await;
        let user = [("user", json!("ann@example.com")), ("session", json!("s1")), ("meta:realm", json!("shop"))];
        let span = rig.take_span().await;
        assert_readings(&span, &user);
        assert!(!span.attributes.values().any(|value| value.to_string().contains(&TOKEN[..40])), "no token in a trace");
        rig.replay(request, answer()).await;
        let nobody = [("user", Value::Null), ("session", Value::Null), ("meta:realm", Value::Null)];
        assert_readings(&rig.take_span().await, &nobody);
    }
}

/// The six headers and the metadata of the predecessor's guide, and the trace that the guide shows, under the names and
/// formulas of docs/design.md.
#[tokio::test(flavor = "multi_thread")]
async fn the_predecessors_guide_gives_the_trace_that_it_shows() {
    let rig = Rig::start(json!({"environment": "production"})).await;
    let body = json!({
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Recommend a movie"}],
        "temperature": 0.7,
        "max_tokens": 500,
        "metadata": {
            "user_id": "user-12345", "chat_id": "chat-789", "project_id": "project-xyz",
            "features": {"web_search": true, "image_generation": false},
            "variables": {"user_tier": "premium", "language": "en"},
        },
    });
    let context = [
        ("X-User-Id", "user-12345"),
        ("X-Session-Id", "session-abc"),
        ("X-Chat-Id", "chat-789"),
        ("X-Message-Id", "msg-54321"),
        ("X-Organization-Id", "org-acme"),
        ("X-Project-Id", "project-xyz"),
    ];
    let answer = json!({
        "id": "c-1", "object": "chat.completion", "model": "gpt-4",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Heat"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 150, "completion_tokens": 25, "total_tokens": 175},
    });
    rig.replay(said(chat(&body), &context), Script::json(200, &answer)).await;
    let span = rig.take_span().await;
    assert_readings(
        &span,
        &[
            ("trace", json!("/v1/chat/completions")),
            ("user", json!("user-12345")),
            ("session", json!("session-abc")),
            ("environment", json!("production")),
            ("attr:langfuse.observation.type", json!("generation")),
            ("name", json!("chat_completion")),
            ("meta:provider", json!("openai_compatible")),
            ("meta:model", json!("gpt-4")),
            ("meta:status_code", json!(200)),
            ("meta:environment", json!("production")),
            ("meta:temperature", json!(0.7)),
            ("meta:max_tokens", json!(500)),
            ("meta:finish_reason", json!("stop")),
            ("meta:chat_id", json!("chat-789")),
            ("meta:message_id", json!("msg-54321")),
            ("meta:organization_id", json!("org-acme")),
            ("meta:project_id", json!("project-xyz")),
            ("meta:features", json!(json!({"web_search": true, "image_generation": false}).to_string())),
            ("meta:variables", json!(json!({"user_tier": "premium", "language": "en"}).to_string())),
            ("usage", json!({"input": 150, "output": 25, "total": 175})),
        ],
    );
    let number = |name: &str| span.metadata(name).and_then(|value| value.as_f64()).expect("a number");
    let duration = number("total_duration_ms");
    assert!(duration > 0.0);
    assert!((number("time_per_token_ms") - duration / 25.0).abs() < 0.01);
    let throughput = 25.0 / (duration / 1000.0);
    assert!((number("throughput_tokens_per_second") - throughput).abs() < throughput * 0.01);
}
