//! How roots, instances and workers live: several roots, instances made anew, odd ticks, reloads, odd ends of bodies.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::langfuse::Span;
use wasm_host::{
    Answer, Author, Callout, Ending, Exchange, Framing, Isolation, Kong, Level, Personality, Response, Rule, Setup,
    Worker,
};

use crate::exchanges::{chat, request, stream};
use crate::rig::{NAME, config, drain, hosts, module, pass, read_spans, start, start_with, wasmx};

/// The one trace of one exchange.
fn only_span(worker: &mut Worker) -> Span {
    let mut spans = drain(worker, 2000);
    assert_eq!(spans.len(), 1, "{:#?}", worker.filter_log());
    spans.remove(0)
}

fn two_roots(host: &Personality) -> Worker {
    let of =
        |environment: &str, upstream: &str| config(&json!({"environment": environment, "langfuse_upstream": upstream}));
    let setup =
        Setup::new(host.clone()).root("a", of("one", "langfuse-one:80")).root("b", of("two", "langfuse-two:80"));
    start_with(setup)
}

/// Answers all calls for a while; they, in their order.
fn answer_all(worker: &mut Worker, ms: u64) -> Vec<Callout> {
    let mut calls = Vec::new();
    for _ in 0..ms / 20 {
        worker.advance_ms(20);
        for call in worker.callouts() {
            worker.answer(call.token, Answer::status(200));
            calls.push(call);
        }
    }
    calls
}

fn environment(span: &Span) -> &str {
    span.text("langfuse.environment").unwrap_or_default()
}

#[test]
fn roots_of_one_instance_keep_their_traces_apart() {
    for host in hosts() {
        let mut worker = two_roots(&host);
        answer_all(&mut worker, 2000);
        pass(&mut worker, 0, &chat());
        pass(&mut worker, 1, &stream());
        pass(&mut worker, 1, &chat());
        let calls = answer_all(&mut worker, 30_000);
        let sent: Vec<(usize, String, String)> = calls
            .iter()
            .flat_map(|call| read_spans(call).into_iter().map(move |span| (call, span)))
            .map(|(call, span)| (call.root, call.upstream.clone(), environment(&span).to_owned()))
            .collect();
        // On WasmX the root whose timer it was makes the calls of all.
        let second = usize::from(host == Personality::envoy());
        let of = |root: usize, number: &str| (root, format!("langfuse-{number}:80"), number.to_owned());
        let distinct: BTreeSet<_> = sent.iter().cloned().collect();
        assert_eq!(distinct, BTreeSet::from([of(0, "one"), of(second, "two")]), "{}", host.name());
        assert_eq!(sent.len(), 3, "{}", host.name());
    }
}

#[test]
fn interleaved_exchanges_become_their_own_traces() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        let (first, second) = (worker.open(0, &request(false, "one")), worker.open(0, &request(true, "two")));
        let (chat, stream) = (chat().response, stream().response);
        worker.response_head(second, &stream);
        worker.response_head(first, &chat);
        for piece in &stream.pieces {
            worker.advance_ms(20);
            worker.response_piece(second, piece);
        }
        chat.pieces.iter().for_each(|piece| worker.response_piece(first, piece));
        assert!(!worker.finish(second).harmed() && !worker.finish(first).harmed());
        let prompts: BTreeSet<String> = drain(&mut worker, 2000).iter().map(|span| span.input().to_string()).collect();
        assert_eq!(prompts.len(), 2, "{prompts:?}");
        assert!(
            prompts.iter().any(|prompt| prompt.contains("one")) && prompts.iter().any(|prompt| prompt.contains("two"))
        );
    }
}

#[test]
fn a_lost_instance_is_configured_anew_and_traces_on_with_its_doubled_ticks() {
    let mut worker = start(&Personality::kong(Kong::V3_9));
    drain(&mut worker, 100);
    for losses in 1..=3 {
        worker.free_plan();
        pass(&mut worker, 0, &chat());
        only_span(&mut worker);
        // A request comes first, so that the timer of the root before goes on and ticks the new one.
        assert_eq!((worker.instances(), worker.timers(0)), (losses + 1, losses + 1));
    }
}

#[test]
fn streams_of_a_lost_instance_end_quietly() {
    let mut worker = start(&Personality::kong(Kong::V3_9));
    let stream = worker.open(0, &request(false, "Hi"));
    worker.free_plan();
    worker.response_head(stream, &chat().response);
    assert!(!worker.finish(stream).harmed());
    drain(&mut worker, 500);
}

#[test]
fn early_and_doubled_ticks_change_nothing() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        pass(&mut worker, 0, &chat());
        let mut spans = Vec::new();
        for _ in 0..400 {
            worker.advance_ms(1);
            (0..3).for_each(|_| worker.tick_now(0));
            assert!(worker.callouts().len() <= 1);
            for call in worker.callouts() {
                spans.extend(read_spans(&call));
                worker.answer(call.token, Answer::status(200));
                worker.tick_now(0);
            }
        }
        assert_eq!(spans.len(), 1, "{}", host.name());
    }
}

#[test]
fn a_clock_that_is_set_back_or_far_ahead_stops_nothing() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        let now = worker.now_ns();
        for jump in [now - 3_600_000_000_000, now + 86_400_000_000_000, now] {
            pass(&mut worker, 0, &chat());
            worker.set_now_ns(jump);
            // The timers of a host do not follow the wall clock.
            let mut spans = Vec::new();
            for _ in 0..2000 {
                worker.set_now_ns(worker.now_ns() + 20_000_000);
                worker.tick_now(0);
                for call in worker.callouts() {
                    spans.extend(read_spans(&call));
                    worker.answer(call.token, Answer::status(200));
                }
            }
            assert_eq!(spans.len(), 1, "{}: {jump}", host.name());
        }
    }
}

#[test]
fn a_replaced_configuration_counts_for_new_calls_and_the_old_root_sends_what_it_has() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        pass(&mut worker, 0, &chat());
        let new = worker.replace_config(0, config(&json!({"environment": "new"}))).unwrap();
        pass(&mut worker, new, &chat());
        // WasmX calls seldom behind a change.
        let calls = answer_all(&mut worker, 200_000);
        let spans: Vec<Span> = calls.iter().flat_map(read_spans).collect();
        let environments: BTreeSet<&str> = spans.iter().map(environment).collect();
        assert_eq!((spans.len(), environments), (2, BTreeSet::from(["new", "production"])), "{}", host.name());
        worker.end_root(0);
        pass(&mut worker, new, &chat());
        assert_eq!(answer_all(&mut worker, 15_000).iter().flat_map(read_spans).count(), 1);
    }
}

#[test]
fn streams_that_are_open_at_a_reload_pass() {
    for host in hosts() {
        let mut worker = start(&host);
        let stream = worker.open(0, &request(false, "Hi"));
        worker.stop();
        worker.response_head(stream, &chat().response);
        chat().response.pieces.iter().for_each(|piece| worker.response_piece(stream, piece));
        assert!(!worker.finish(stream).harmed(), "{}", host.name());
    }
}

#[test]
fn an_isolated_stream_passes_unharmed() {
    for isolation in [Isolation::Stream, Isolation::Filter] {
        let mut worker = start(&wasmx(|wasmx| wasmx.isolation = isolation));
        for _ in 0..3 {
            pass(&mut worker, 0, &chat());
            drain(&mut worker, 200);
        }
    }
}

#[test]
fn a_request_body_in_a_file_is_said_to_be_missing() {
    let mut worker = start(&wasmx(|wasmx| wasmx.client_body_buffer_size = 8192));
    drain(&mut worker, 100);
    let mut large = chat();
    large.request = request(false, &"long ".repeat(4000));
    pass(&mut worker, 0, &large);
    let span = only_span(&mut worker);
    let note = span.metadata("input_note").unwrap_or_default();
    assert!(note.as_str().is_some_and(|note| note.contains("buffered to disk")), "{note}");
    assert_eq!(span.metadata("input_bytes"), Some(json!(large.request.body.concat().len())));
    assert_eq!(span.usage().get("total"), Some(&12), "the answer is traced all the same");
    assert_eq!(worker.log().iter().filter(|line| line.level == Level::Error).count(), 1, "asked for once");
}

#[test]
fn a_long_answer_of_known_length_is_complete_without_its_end() {
    let long = "word ".repeat(8000);
    let body = json!({"model": "m", "choices": [{"message": {"role": "assistant", "content": long}}]}).to_string();
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        let mut exchange = chat();
        exchange.response = Response::json(200, body.clone());
        pass(&mut worker, 0, &exchange);
        let span = only_span(&mut worker);
        assert_eq!(span.level(), "DEFAULT", "{}: {:?}", host.name(), span.attributes);
        assert!(span.output().to_string().contains(&long));
    }
}

#[test]
fn a_client_that_leaves_and_an_upstream_that_breaks_are_told_of() {
    for host in hosts() {
        for (ending, on_envoy) in [(Ending::ClientGone, "WARNING"), (Ending::UpstreamCut, "ERROR")] {
            let mut worker = start(&host);
            drain(&mut worker, 100);
            let mut cut = stream();
            cut.response.pieces.truncate(2);
            cut.response.ending = ending;
            pass(&mut worker, 0, &cut);
            let span = only_span(&mut worker);
            // WasmX does not tell who closed.
            let level = if host == Personality::envoy() { on_envoy } else { "WARNING" };
            assert_eq!(span.level(), level, "{}: {ending:?}", host.name());
            assert_eq!(span.metadata("stream_complete"), Some(json!(false)));
        }
    }
}

#[test]
fn requests_without_bodies_heads_and_empty_answers_pass() {
    for host in hosts() {
        let mut worker = start(&host);
        for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 204), ("POST", 304), ("POST", 501)] {
            for framing in [Framing::ContentLength, Framing::Chunked, Framing::Close] {
                let mut exchange = chat();
                exchange.request.method = method.to_owned();
                exchange.request.body.clear();
                exchange.response = Response::of(status, "application/json", Vec::new(), framing);
                pass(&mut worker, 0, &exchange);
            }
        }
        drain(&mut worker, 500);
    }
}

#[test]
fn headers_in_any_case_and_number_are_read() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        let mut many = chat();
        many.request = many.request.header("LANGFUSE-SESSION-ID", "s-1");
        (0..200).for_each(|number| many.request.headers.push((format!("x-filler-{number}"), b"v".to_vec())));
        many.response.headers = vec![("CONTENT-TYPE".to_owned(), b"application/json".to_vec())];
        pass(&mut worker, 0, &many);
        let span = only_span(&mut worker);
        assert_eq!((span.user(), span.session()), (Some("jo"), Some("s-1")), "{}", host.name());
    }
}

#[test]
fn a_bad_configuration_never_keeps_a_wasmx_worker_down_and_says_why() {
    let bad = [
        "{",
        "[]",
        "\"x\"",
        r#"{"langfuse_enabled": true, "no_such_key": 1}"#,
        "\u{0}",
        r#"{"langfuse_enabled": "perhaps"}"#,
    ];
    for text in bad {
        for host in Kong::ALL.map(Personality::kong) {
            let mut worker = start_with(Setup::new(host).root(NAME, text));
            pass(&mut worker, 0, &chat());
            let log = worker.filter_log();
            assert!(log.iter().any(|line| line.contains("disabled, traffic is not traced")), "{text}: {log:?}");
        }
        let cold = Worker::start(module(), Setup::new(Personality::envoy()).root(NAME, text));
        assert_eq!(cold.err().map(|error| error.violation.rule), Some(Rule::StartRefused), "{text}");
    }
}

#[test]
fn an_address_that_is_none_is_never_called_on_wasmx() {
    for upstream in ["http://langfuse", "a b", ":80", "h:0"] {
        let setup =
            Setup::new(Personality::kong(Kong::V3_9)).root(NAME, config(&json!({"langfuse_upstream": upstream})));
        let Ok(mut worker) = Worker::start(module(), setup) else { panic!("{upstream}") };
        pass(&mut worker, 0, &chat());
        worker.advance_ms(300_000);
        assert_eq!((worker.host_calls("proxy_http_call"), worker.leaked_connections()), (0, 0), "{upstream}");
    }
}

#[test]
fn a_healthy_root_writes_no_error_on_any_host() {
    for host in hosts() {
        let mut worker = start(&host);
        drain(&mut worker, 100);
        pass(&mut worker, 0, &chat());
        pass(&mut worker, 0, &stream());
        drain(&mut worker, 2000);
        let errors: Vec<_> = worker.log().into_iter().filter(|line| line.level >= Level::Error).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", host.name());
    }
}

#[test]
fn calls_of_one_moment_have_their_own_ids() {
    for host in hosts() {
        let mut worker = start_with(Setup::new(host.clone()).root(NAME, config(&Value::Null)).seed(7));
        drain(&mut worker, 100);
        let mut at_once = chat();
        (at_once.think_ms, at_once.gap_ms) = (0, 0);
        (0..20).for_each(|_| pass(&mut worker, 0, &at_once));
        let spans = drain(&mut worker, 2000);
        let ids: BTreeSet<(String, String)> =
            spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect();
        assert_eq!((spans.len(), ids.len()), (20, 20), "{}", host.name());
    }
}

/// `random_get` of WasmX may give two containers the same bytes; nginx's own request id is strong.
#[test]
fn containers_of_equal_seeds_make_different_ids() {
    let ids = |request_id: &str| {
        let host = Personality::kong(Kong::V3_9);
        let setup = Setup::new(host).root(NAME, config(&Value::Null)).seed(7).property("ngx.request_id", request_id);
        let mut worker = start_with(setup);
        drain(&mut worker, 100);
        let mut exchange = chat();
        exchange.request.headers.retain(|(name, _)| name != "X-Request-Id");
        pass(&mut worker, 0, &exchange);
        only_span(&mut worker).trace_id
    };
    assert_ne!(ids("e94fd2db06e2fbb0a8a9c14a34ee8d42"), ids("1d3c5b0f0a7e49f2b6c8d7e1f2a3b4c5"));
}

#[test]
fn what_kong_knows_of_a_call_is_in_its_trace_and_asking_is_silent() {
    for (version, route) in [(Kong::V3_4, None), (Kong::V3_6, Some(json!("chat"))), (Kong::V3_9, Some(json!("chat")))] {
        let setup = Setup::new(Personality::kong(version))
            .root(NAME, config(&Value::Null))
            .property("kong.route_name", "chat")
            .property("kong.service_name", "openai");
        let mut worker = start_with(setup);
        drain(&mut worker, 100);
        pass(&mut worker, 0, &chat());
        let span = only_span(&mut worker);
        assert_eq!(span.metadata("gateway.route"), route, "{version:?}");
        assert_eq!(span.metadata("gateway.service"), route.map(|_| json!("openai")), "{version:?}");
        assert_eq!(span.metadata("gateway.upstream_response_time"), Some(json!(0.42)));
        assert!(worker.log().iter().all(|line| line.author != Author::Host), "{:?}", worker.log());
    }
}

#[test]
fn isolation_that_loses_every_trace_is_told_of() {
    let host = |isolation| wasmx(|wasmx| wasmx.isolation = isolation);
    let log_of = |isolation| {
        let setup = Setup::new(host(isolation)).root(NAME, config(&Value::Null)).property("ngx.connection", "7");
        let mut worker = start_with(setup);
        drain(&mut worker, 100);
        // Long enough that the instance of each call ticks while it lasts.
        (0..3).for_each(|_| pass(&mut worker, 0, &Exchange { think_ms: 500, ..chat() }));
        let calls = worker.callouts().len();
        (worker.filter_log(), calls)
    };
    for isolation in [Isolation::Stream, Isolation::Filter] {
        let (log, calls) = log_of(isolation);
        let said = |text: &str| log.iter().filter(|line| line.contains(text)).count();
        assert_eq!(said("proxy_wasm_isolation is not none"), 3, "{log:?}");
        assert_eq!((said("tracing to Langfuse"), calls), (1, 0), "an instance of one request begins nothing: {log:?}");
    }
    let (log, _) = log_of(Isolation::None);
    assert!(!log.iter().any(|line| line.contains("proxy_wasm_isolation")), "{log:?}");
}
