//! What a configuration does in the real Envoy: what it switches, what it refuses and how clearly, what it needs from
//! the environment, and that nothing of it harms traffic.

use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter, bootstrap, validate};
use testkit::langfuse::{StandIn, StandInOptions};
use testkit::upstream::{Script, Upstream};

use crate::calls::{answer, question};
use crate::rig::{PUBLIC_KEY, Rig, SECRET_KEY, SOON, config, module, unwanted};

fn answer_without_usage() -> Script {
    Script::json(
        200,
        &json!({"model": "gpt-4o", "choices": [{"index": 0, "message": {"content": "hello"}, "finish_reason": "stop"}]}),
    )
}

/// Lines of the filter in Envoy's log that contain `text`.
fn lines(log: &str, text: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains("ai-tracing") && line.contains(text)).map(str::to_owned).collect()
}

/// Removes keys of the filter's configuration: those that the rig sets by default.
fn without_keys(options: &mut EnvoyOptions) {
    let filter = options.filters.first_mut().expect("the filter");
    let mut config: Value = serde_json::from_str(&filter.config).expect("the rig's configuration");
    let object = config.as_object_mut().expect("an object");
    for key in ["langfuse_public_key", "langfuse_secret_key"] {
        if object.get(key).and_then(Value::as_str).is_some_and(|value| !value.starts_with('{')) {
            object.remove(key);
        }
    }
    filter.config = config.to_string();
}

fn environment(options: &mut EnvoyOptions, variables: &[(&str, &str)]) {
    let filter = options.filters.first_mut().expect("the filter");
    filter.environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_does_nothing() {
    for off in [json!(false), json!("false")] {
        let rig = Rig::start(json!({"langfuse_enabled": off})).await;
        rig.replay(question(), answer()).await;
        // A second Envoy that traces has had its ticks when its trace is there; this one has had as many.
        let other = Rig::start(json!({})).await;
        other.replay(question(), answer()).await;
        other.take_span().await;
        rig.replay(question(), answer()).await;
        assert!(rig.langfuse.requests().is_empty());
        assert_eq!((rig.counter("traces_offered").await, rig.counter("calls_skipped_reason=not_ai").await), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_stand_for_booleans_and_numbers_and_labels_are_on_every_span() {
    let rig = Rig::start(json!({
        "langfuse_enabled": "true", "langfuse_timeout": "3000", "max_input_bytes": "1000", "batch_max_age": "0",
        "tags": "a, b", "environment": "STAGING-1", "release": "r1", "version": "v2", "estimate_usage": "false",
        "ignore_paths": ["/internal", "/private/"],
    }))
    .await;
    for path in ["/internal/v1/chat/completions", "/private/v1/chat/completions?x", "/internal"] {
        rig.replay(Request { path: path.into(), ..question() }, answer()).await;
    }
    rig.replay(Request { path: "/internals/v1/chat/completions".into(), ..question() }, answer_without_usage()).await;
    let labels = [
        ("trace", json!("/internals/v1/chat/completions")),
        ("tags", json!(["a", "b"])),
        ("environment", json!("staging-1")),
        ("meta:environment", json!("staging-1")),
        ("release", json!("r1")),
        ("version", json!("v2")),
        ("cost", json!({"total": 0})),
        ("usage", Value::Null),
        ("level", json!("DEFAULT")),
    ];
    let mut wrong = unwanted("no usage", &rig.take_span().await, &labels);
    rig.replay(question(), answer()).await;
    let stated =
        [("usage", json!({"input": 5, "output": 2, "total": 7})), ("cost", Value::Null), ("tags", json!(["a", "b"]))];
    let span = rig.take_span().await;
    wrong.extend(unwanted("usage", &span, &stated));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rig.wait_for_counter("calls_skipped_reason=ignored_path", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_missing_is_estimated_by_langfuse_unless_told_otherwise() {
    let rig = Rig::start(json!({})).await;
    rig.replay(question(), answer_without_usage()).await;
    let wanted = [
        ("usage", Value::Null),
        ("cost", Value::Null),
        ("meta:usage_source", json!("missing")),
        ("environment", json!("production")),
    ];
    let wrong = unwanted("default", &rig.take_span().await, &wanted);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_environment_of_the_module() {
    let keys = [
        ("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY),
        ("LANGFUSE_SECRET_KEY", SECRET_KEY),
        ("LANGFUSE_TRACING_ENVIRONMENT", "of-env"),
        ("LANGFUSE_RELEASE", "r-env"),
    ];
    let rig = Rig::start_with(json!({}), |options| {
        without_keys(options);
        environment(options, &keys);
    })
    .await;
    rig.replay(question(), answer()).await;
    let span = rig.take_span().await;
    let wrong = unwanted("environment", &span, &[("environment", json!("of-env")), ("release", json!("r-env"))]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let vault =
        json!({"langfuse_public_key": "{vault://env/my-public}", "langfuse_secret_key": "{vault://env/my-secret-key}"});
    let rig = Rig::start_with(vault, |options| {
        environment(
            options,
            &[("MY_PUBLIC", PUBLIC_KEY), ("MY_SECRET_KEY", SECRET_KEY), ("LANGFUSE_SECRET_KEY", "wrong")],
        );
    })
    .await;
    rig.replay(question(), answer()).await;
    rig.take_span().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_lacks_disables_with_a_line_and_harms_no_call() {
    for (more, variables, named) in [
        (json!({}), &[][..], "LANGFUSE_PUBLIC_KEY"),
        (json!({}), &[("LANGFUSE_PUBLIC_KEY", "pk")][..], "LANGFUSE_SECRET_KEY"),
        (json!({"langfuse_secret_key": "{vault://env/my-key}"}), &[("LANGFUSE_PUBLIC_KEY", "pk")][..], "MY_KEY"),
        (
            json!({"langfuse_secret_key": "{vault://hcv/my-key}"}),
            &[("LANGFUSE_PUBLIC_KEY", "pk")][..],
            "no other vault",
        ),
    ] {
        let rig = Rig::start_with(more, |options| {
            without_keys(options);
            environment(options, variables);
        })
        .await;
        rig.replay(question(), answer()).await;
        rig.envoy.wait_for_log(named, SOON).await;
        let log = rig.envoy.log();
        let disabled = lines(&log, "disabled, traffic is not traced");
        assert!(!disabled.is_empty() && disabled.iter().all(|line| line.contains(named)), "{named}: {log}");
        assert!(rig.langfuse.requests().is_empty());
    }
}

/// The options of an Envoy whose filter has this configuration text.
fn with_text(text: &str) -> EnvoyOptions {
    let mut filter = WasmFilter::new("ai-tracing", module(), &json!({}));
    filter.config = text.to_owned();
    EnvoyOptions::new(Endpoint::parse("http://127.0.0.1:1").expect("an address")).with_filter(filter)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_text_is_refused_with_one_clear_line() {
    let folder = tempfile();
    for (text, said) in [
        (r#"{"langfuse_enabled": true,"#, "the configuration is not a JSON object (line 1"),
        (r#"[true]"#, "the configuration is not a JSON object"),
        (r#"{"langfuse_enable": true}"#, "unknown key `langfuse_enable`; did you mean `langfuse_enabled`?"),
        (r#"{"zzz": 1}"#, "unknown key `zzz`; the README lists all keys"),
        (r#"{"langfuse_timeout": "soon"}"#, "langfuse_timeout: must be a whole number"),
        (r#"{"langfuse_timeout": 0}"#, "langfuse_timeout: must be 1 to 600000"),
        (r#"{"memory_budget": 1}"#, "memory_budget: must be 1048576 to"),
        (r#"{"langfuse_endpoint": "cloud.langfuse.com"}"#, "langfuse_endpoint: must begin with https:// or http://"),
        (r#"{"environment": "Prod EU!"}"#, "environment: must be 1 to 40"),
    ] {
        let path = folder.join("envoy.json");
        std::fs::write(&path, bootstrap(&with_text(text)).to_string()).expect("writing the bootstrap");
        let output = validate(&path).expect_err(text);
        assert_eq!(
            lines(&output, said).len(),
            lines(&output, "ai-tracing: ").len(),
            "{text}: only this is said:\n{output}"
        );
        assert!(!lines(&output, said).is_empty(), "{text}:\n{output}");
    }
    // A cold start is refused as well, with the same line.
    let log = Envoy::try_start(with_text(r#"{"langfuse_enable": true}"#)).await.err().unwrap_or_default();
    assert_eq!(lines(&log, "did you mean `langfuse_enabled`?").len(), 1, "{log}");
    // Nothing at all is the default configuration.
    std::fs::write(folder.join("envoy.json"), bootstrap(&with_text("")).to_string()).expect("writing the bootstrap");
    validate(&folder.join("envoy.json")).expect("no configuration is none that is wrong");
    let _ = std::fs::remove_dir_all(folder);
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("ai-tracing-configuration-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_as_configuration_is_refused_with_the_remedy() {
    let mut options = with_text("{}");
    options.customise = Some(|bootstrap| {
        let hcm = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        hcm["http_filters"][0]["typed_config"]["config"]["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"langfuse_enabled": true}});
    });
    let log = Envoy::try_start(options).await.err().unwrap_or_default();
    assert_eq!(lines(&log, "give it as google.protobuf.StringValue, not as Struct").len(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_cluster_is_said_and_harms_no_call() {
    let rig = Rig::start(json!({"langfuse_upstream": "nowhere"})).await;
    for _ in 0..5 {
        rig.replay(question(), answer()).await;
    }
    rig.envoy.wait_for_log("define a cluster", SOON).await;
    rig.wait_for_counter("traces_offered", 5).await;
    let log = rig.envoy.log();
    // One line for each VM: the main thread's and the worker's.
    let said = lines(&log, "define a cluster of that name");
    assert!((1..=2).contains(&said.len()) && said.iter().all(|line| line.contains("`nowhere`")), "{log}");
    assert_eq!((rig.dropped().await, rig.langfuse.requests().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_said_once_and_traces_are_kept() {
    let other = StandInOptions { secret_key: "sk-lf-of-another-project".into(), ..StandInOptions::default() };
    let rig = Rig::start_against(other, json!({}), |_| {}).await;
    for _ in 0..20 {
        rig.replay(question(), answer()).await;
    }
    rig.envoy.wait_for_log("refuses the keys", SOON).await;
    rig.wait_for_counter("traces_offered", 20).await;
    // A second Envoy has started, traced and exported meanwhile: this one must not have asked again.
    let right = Rig::start(json!({})).await;
    right.replay(question(), answer()).await;
    right.take_span().await;
    let requests = rig.langfuse.requests();
    assert!(requests.len() <= 2, "one a VM, not {}", requests.len());
    assert!(requests.iter().all(|request| request.status == Some(401) && request.bytes == 0), "{requests:?}");
    let log = rig.envoy.log();
    let said = lines(&log, "refuses the keys");
    assert!((1..=2).contains(&said.len()), "{log}");
    assert!(said.iter().all(|line| line.contains("HTTP 401") && line.contains("langfuse_secret_key")), "{log}");
    assert_eq!((rig.dropped().await, rig.counter("traces_sent").await), (0, 0));
    assert!(!lines(&right.envoy.log(), "connected to Langfuse at http://127.0.0.1").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_check_is_one_empty_request_a_vm_before_the_first_batch() {
    let rig = Rig::start_with(json!({}), |options| options.concurrency = 2).await;
    rig.envoy.wait_for_log("connected to Langfuse", SOON).await;
    for _ in 0..10 {
        rig.replay(question(), answer()).await;
    }
    let spans = rig.langfuse.wait_for_spans(10, SOON).await;
    assert_eq!(spans.len(), 10);
    rig.wait_until_settled(10).await;
    // Two workers and the main thread have a VM each.
    let requests = rig.langfuse.wait_for_requests(4, SOON).await;
    assert_eq!(rig.langfuse.self_checks(), 3);
    assert_eq!(requests.iter().filter(|request| request.bytes == 0).count(), 3);
    assert_eq!(requests.first().map(|request| request.bytes), Some(0), "asked before anything is sent");
    assert_eq!(lines(&rig.envoy.log(), "connected to Langfuse").len(), 3);
    rig.langfuse.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_trace_each_to_its_own_project_and_environment() {
    let second = StandIn::start(StandInOptions {
        public_key: "pk-2".into(),
        secret_key: "sk-lf-second".into(),
        ..StandInOptions::default()
    })
    .await;
    let of_second = json!({"environment": "two", "langfuse_public_key": "pk-2", "langfuse_secret_key": "sk-lf-second", "tags": ["t2"], "ignore_paths": "/only-two"});
    let filter = WasmFilter::new("ai-tracing", module(), &config(&second, &of_second));
    let endpoint = Endpoint::from(second.addr());
    let rig = Rig::start_with(json!({"environment": "one"}), |options| {
        options.more_listeners.push(vec![filter]);
        options.clusters.push((endpoint.authority(), endpoint));
    })
    .await;
    rig.upstream.fallback(|_| Some(answer()));
    for listener in [0, 1] {
        for path in ["/v1/chat/completions", "/only-two/v1/chat/completions"] {
            let response =
                client::send(rig.envoy.listener(listener), Request { path: path.into(), ..question() }).await;
            assert_eq!(response.status, 200);
        }
    }
    let first = rig.take_spans(2).await;
    let second_spans = second.wait_for_spans(1, SOON).await;
    second.assert_no_violations();
    rig.wait_until_settled(3).await;
    let mut wrong: Vec<String> = first
        .iter()
        .flat_map(|span| unwanted("first", span, &[("environment", json!("one")), ("tags", json!([]))]))
        .collect();
    assert_eq!((second_spans.len(), rig.langfuse.spans().len()), (1, 0));
    wrong.extend(unwanted("second", &second_spans[0], &[("environment", json!("two")), ("tags", json!(["t2"]))]));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_traces_and_one_that_does_not_share_a_gateway() {
    let off = WasmFilter::new("ai-tracing", module(), &json!({"langfuse_enabled": false}));
    let rig = Rig::start_with(json!({}), |options| options.more_listeners.push(vec![off])).await;
    rig.upstream.fallback(|_| Some(answer()));
    for listener in [1, 0, 1] {
        assert_eq!(client::send(rig.envoy.listener(listener), question()).await.status, 200);
    }
    rig.take_span().await;
    assert_eq!(rig.counter("traces_offered").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn predecessors_urls_of_langfuse_are_understood() {
    let langfuse = StandIn::start(StandInOptions::default()).await;
    let upstream = Upstream::start().await;
    upstream.fallback(|_| Some(answer()));
    let base = langfuse.base_url();
    let endpoints =
        [format!("{base}/api/public/ingestion"), format!("{base}/api/public/otel/v1/traces/"), format!("{base}/")];
    let filter =
        |url: &String| WasmFilter::new("ai-tracing", module(), &config(&langfuse, &json!({"langfuse_endpoint": url})));
    let mut options = EnvoyOptions::new(upstream.addr()).with_langfuse(Endpoint::from(langfuse.addr()));
    options.filters = vec![filter(&endpoints[0])];
    options.more_listeners = endpoints[1..].iter().map(|url| vec![filter(url)]).collect();
    let envoy = Envoy::start(options).await;
    for listener in 0..endpoints.len() {
        client::send(envoy.listener(listener), question()).await;
    }
    langfuse.wait_for_spans(endpoints.len(), SOON).await;
    langfuse.assert_no_violations();
    assert!(langfuse.requests().iter().all(|request| request.path == "/api/public/otel/v1/traces"));
}
