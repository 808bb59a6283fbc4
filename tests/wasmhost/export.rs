//! The export on every host: old servers, servers that change, several projects, and the account of every trace.

use serde_json::{Value, json};
use testkit::langfuse::{Generation, Span};
use wasm_host::{Answer, Callout, Exchange, Kong, Personality, Setup, Worker};

use crate::exchanges::chat;
use crate::rig::{NAME, config, hosts, langfuse, pass, start, start_with, try_wait_for_call, wasmx};

/// Lets `ms` pass while a Langfuse of that generation answers; the spans that it has taken.
fn serve(worker: &mut Worker, generation: Generation, ms: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    for _ in 0..ms / 20 {
        worker.advance_ms(20);
        for call in worker.callouts() {
            let (taken, answer) = langfuse(generation, &call);
            spans.extend(taken);
            worker.answer(call.token, answer);
        }
    }
    spans
}

fn calls(worker: &mut Worker, count: usize) {
    (0..count).for_each(|_| pass(worker, 0, &chat()));
}

#[test]
fn a_langfuse_without_otlp_gets_the_legacy_batch_on_every_host() {
    for host in hosts() {
        for generation in [Generation::BeforeOtlp, Generation::V2] {
            let mut worker = start(&host);
            calls(&mut worker, 3);
            let spans = serve(&mut worker, generation, 40_000);
            assert_eq!(spans.len(), 3, "{} {generation:?}: {:#?}", host.name(), worker.filter_log());
            assert!(spans.iter().all(|span| span.user() == Some("jo") && span.output()["content"] == "Hello!"));
            let log = worker.filter_log();
            let said = |text: &str| log.iter().filter(|line| line.contains(text)).count();
            assert_eq!(
                (said("trying its legacy ingestion API"), said("by its legacy ingestion API")),
                (1, 1),
                "{log:?}"
            );
        }
    }
}

#[test]
fn a_langfuse_that_is_upgraded_gets_otlp_and_loses_nothing() {
    for host in hosts() {
        let mut worker = start(&host);
        calls(&mut worker, 1);
        assert_eq!(serve(&mut worker, Generation::BeforeOtlp, 15_000).len(), 1);
        // v4 refuses the events that the filter still sends.
        calls(&mut worker, 2);
        assert_eq!(serve(&mut worker, Generation::V4, 15_000).len(), 2, "{}: {:#?}", host.name(), worker.filter_log());
        assert!(worker.filter_log().iter().any(|line| line.contains("takes traces by OTLP")));
        // A server that takes both is asked for OTLP after an hour.
        let mut worker = start(&host);
        calls(&mut worker, 1);
        assert_eq!(serve(&mut worker, Generation::BeforeOtlp, 15_000).len(), 1);
        assert!(serve(&mut worker, Generation::V4Dual, 3_600_000).is_empty());
        calls(&mut worker, 1);
        let otlp = |call: &Callout| wasm_host::find(&call.headers, ":path") == Some(b"/api/public/otel/v1/traces");
        let call = try_wait_for_call(&mut worker, 1000).expect("a call");
        assert!(otlp(&call), "{}", host.name());
        assert_eq!(serve(&mut worker, Generation::V4Dual, 1000).len(), 1);
    }
}

fn two_projects(host: &Personality) -> Worker {
    let projects = json!([{"header": {"x-team": "b"}, "langfuse_public_key": "pk-b", "langfuse_secret_key": "sk-b",
        "langfuse_endpoint": "http://team-b.test:3000"}]);
    start_with(Setup::new(host.clone()).root(NAME, config(&json!({"projects": projects}))))
}

fn call_of(team: &str) -> Exchange {
    let mut exchange = chat();
    exchange.request = exchange.request.header("X-Team", team);
    // No time passes: a call of the filter that a test leaves without an answer would be given up.
    Exchange { think_ms: 0, gap_ms: 0, ..exchange }
}

#[test]
fn a_dead_project_costs_the_other_one_nothing_and_gets_its_traces_later() {
    for host in hosts() {
        let mut worker = two_projects(&host);
        let (mut healthy, mut dead) = (Vec::new(), Vec::new());
        // The self checks of both.
        assert!(serve(&mut worker, Generation::V4, 15_000).is_empty());
        for _ in 0..20 {
            ["a", "b"].iter().for_each(|team| pass(&mut worker, 0, &call_of(team)));
        }
        let mut serve = |worker: &mut Worker, ms: u64, b_is_dead: bool| {
            for _ in 0..ms / 20 {
                worker.advance_ms(20);
                assert!(worker.callouts().len() <= 1, "one call at a time, for all projects");
                for call in worker.callouts() {
                    let of_b = call.upstream.starts_with("team-b");
                    if of_b && b_is_dead {
                        worker.answer(call.token, Answer::status(503));
                        continue;
                    }
                    let (taken, answer) = langfuse(Generation::V4, &call);
                    (if of_b { &mut dead } else { &mut healthy }).extend(taken);
                    worker.answer(call.token, answer);
                }
            }
            (healthy.len(), dead.len())
        };
        assert_eq!(serve(&mut worker, 20_000, true), (20, 0), "{}", host.name());
        assert_eq!(serve(&mut worker, 80_000, false), (20, 20), "{}", host.name());
    }
}

#[test]
fn calls_of_a_project_without_keys_pass_and_go_nowhere() {
    let projects = json!([{"path_prefix": "/b", "langfuse_public_key": "{vault://env/nobody}",
        "langfuse_secret_key": "{vault://env/nobody}"}]);
    for host in hosts() {
        let setup = Setup::new(host.clone()).root(NAME, config(&json!({"projects": projects})));
        let mut worker = start_with(setup);
        let mut exchange = chat();
        exchange.request.path = "/b/v1/chat/completions".to_owned();
        pass(&mut worker, 0, &exchange);
        calls(&mut worker, 1);
        let spans = serve(&mut worker, Generation::V4, 15_000);
        assert_eq!(spans.len(), 1, "{}", host.name());
        assert_eq!(spans[0].text("langfuse.trace.name"), Some("/v1/chat/completions"));
        let log = worker.filter_log();
        assert!(log.iter().any(|line| line.contains("projects, entry 1") && line.contains("NOBODY")), "{log:?}");
    }
}

/// Metrics are used only where they harm nobody: the host would report it.
#[test]
fn metrics_are_there_from_kong_38_and_for_names_that_prometheus_bears() {
    let named =
        |kong: Option<Kong>, name: &str| wasmx(|wasmx| (wasmx.kong, wasmx.filter_name) = (kong, name.to_owned()));
    for (host, has_metrics) in [
        (named(Some(Kong::V3_9), "ai_tracing"), true),
        (named(Some(Kong::V3_8), "ai_tracing"), true),
        (named(Some(Kong::V3_9), "ai-tracing"), false),
        (named(Some(Kong::V3_7), "ai_tracing"), false),
        (named(Some(Kong::V3_4), "ai_tracing"), false),
        (named(None, "ai_tracing"), false),
        (Personality::envoy(), true),
    ] {
        let mut worker = start(&host);
        calls(&mut worker, 2);
        serve(&mut worker, Generation::V4, 15_000);
        let metrics = worker.metrics();
        let of =
            |part: &str| metrics.iter().filter(|(name, _)| name.contains(part)).map(|(_, value)| *value).sum::<u64>();
        let wanted = if has_metrics { (2, 2, 18) } else { (0, 0, 0) };
        assert_eq!(
            (of("traces_offered"), of("traces_sent"), of("tokens_input")),
            wanted,
            "{}: {metrics:?}",
            host.name()
        );
        worker.assert_healthy();
    }
}

#[test]
fn a_root_that_is_configured_again_with_the_same_text_keeps_its_traces() {
    let mut worker = start(&Personality::envoy());
    calls(&mut worker, 1);
    let value: Value = serde_json::from_str(&config(&Value::Null)).unwrap();
    assert_eq!(value["batch_max_age"], 100);
    worker.configure_again(0);
    assert_eq!(serve(&mut worker, Generation::V4, 15_000).len(), 1);
}
