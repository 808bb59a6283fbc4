//! A real application before the gateway: `app.py` with Langfuse's SDK around OpenAI's. What the SDK and the filter send
//! is one trace, in which each generation hangs under the observation that was current when its request left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::langfuse::{Span, StandInOptions};
use testkit::upstream::{Received, Script};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::calls::{answer, stream};
use crate::rig::{PUBLIC_KEY, Rig, SECRET_KEY, SOON, unwanted};

/// How long the application may take: Python imports two SDKs while other tests use the processors.
const APPLICATION_MAX: Duration = Duration::from_secs(90);
/// How far a generation may reach out of the observation that waited for it: the application goes on at the last byte of
/// the answer, which is before the gateway has ended the exchange. Long, for a machine that is busy with other tests.
const ALLOWANCE: Duration = Duration::from_secs(5);
/// Attributes by which the SDK says on its own spans what it also hands on.
const SAID_BY_SDK: [&str; 6] =
    ["user.id", "session.id", "langfuse.trace.name", "langfuse.trace.tags", "langfuse.environment", "langfuse.version"];

/// What the application says of itself: spaces, commas, quotes and letters outside ASCII in all that may have them.
fn attributes() -> Value {
    json!({
        "user_id": "Zoë O'Neil, \"QA\" + 1",
        "session_id": "sitting 7; a=b, 100 %",
        "trace_name": "Wetter für heute, \"bitte\"",
        "tags": ["plain", "two, of them", "it's", "\"both\" 'kinds'", "größer", "back\\slash"],
        "metadata": {"tier": "gold, \"plus\"", "city": "Köln am Rhein", "attempt": 2},
        "environment": "staging",
        "version": "1.4",
        "prompt": {"name": "greeting, kind", "version": 3},
    })
}

/// The readings of a generation that say the same.
fn handed_on() -> Vec<(&'static str, Value)> {
    let attributes = attributes();
    let said = |name: &str| attributes[name].clone();
    vec![
        ("user", said("user_id")),
        ("session", said("session_id")),
        ("trace", said("trace_name")),
        ("tags", said("tags")),
        ("environment", said("environment")),
        ("version", said("version")),
        ("attr:langfuse.observation.prompt.name", json!("greeting, kind")),
        ("attr:langfuse.observation.prompt.version", json!(3)),
        ("attr:langfuse.internal.is_app_root", Value::Null),
        ("level", json!("DEFAULT")),
    ]
}

/// A gateway whose Langfuse takes what applications send too, and whose upstream answers each question as asked.
async fn rig() -> Rig {
    let langfuse = StandInOptions { with_applications: true, ..StandInOptions::default() };
    let rig = Rig::start_against(langfuse, json!({}), |_| {}).await;
    rig.langfuse.forbid("sk-of-the-application");
    rig.upstream.fallback(|question| Some(answer_to(question)));
    rig
}

fn answer_to(question: &Received) -> Script {
    let body: Value = serde_json::from_slice(question.body.as_deref().unwrap_or_default()).expect("a question");
    if body["stream"] == true { stream() } else { answer() }
}

/// What the application told (see app.py).
struct Told(Value);

impl Told {
    fn trace(&self) -> &str {
        self.0["trace"].as_str().expect("a trace")
    }

    #[track_caller]
    fn observation(&self, name: &str) -> &str {
        self.0["observations"][name].as_str().unwrap_or_else(|| panic!("no observation {name:?} in {}", self.0))
    }

    /// The context headers that left with each question.
    fn sent(&self) -> BTreeMap<String, Value> {
        serde_json::from_value(self.0["sent"].clone()).expect("headers by question")
    }
}

fn python() -> PathBuf {
    let python = testkit::repository_root().join(".venv/bin/python");
    let installed = testkit::repository_root().join(".venv/sdk-requirements.txt");
    assert!(installed.exists(), "{} is missing; run: scripts/setup sdk", installed.display());
    python
}

/// Runs the application to its end. It sees no proxy and no keys of the machine.
async fn run(rig: &Rig, scenario: &str) -> Told {
    let gateway = format!("{}/v1", rig.envoy.url());
    let task = json!({"scenario": scenario, "gateway": gateway, "attributes": attributes()});
    let mut command = Command::new(python());
    command.args(["-X", "utf8"]).arg(testkit::repository_root().join("tests/envoy/sdk/app.py")).env_clear();
    command.envs([("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY), ("LANGFUSE_SECRET_KEY", SECRET_KEY)]);
    command.env("LANGFUSE_BASE_URL", rig.langfuse.base_url()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut app = command.spawn().expect("Python");
    app.stdin.take().expect("a pipe").write_all(task.to_string().as_bytes()).await.expect("the task");
    let ended = tokio::time::timeout(APPLICATION_MAX, app.wait_with_output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{scenario}: not over in {APPLICATION_MAX:?}")).expect("its output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{scenario}: {}: {said}\n{}", output.status, rig.envoy.log());
    assert_eq!(said, "", "{scenario}: warnings of an SDK");
    Told(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The question that a request of the application asked, of which a generation was made.
fn question(span: &Span) -> String {
    let input = span.input();
    let messages = input.get("messages").unwrap_or(&input);
    messages[0]["content"].as_str().unwrap_or_else(|| panic!("no question in {input}")).to_owned()
}

/// The filter's spans by question, and all others by id.
fn sorted(spans: &[Span]) -> (BTreeMap<String, &Span>, BTreeMap<&str, &Span>) {
    let (ours, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.scope_name == "ai-tracing");
    let ours: Vec<_> = ours.into_iter().map(|span| (question(span), span)).collect();
    let others: Vec<_> = others.into_iter().map(|span| (span.span_id.as_str(), span)).collect();
    let counts = (ours.len(), others.len());
    let sorted = (BTreeMap::from_iter(ours), BTreeMap::from_iter(others));
    assert_eq!((sorted.0.len(), sorted.1.len()), counts, "each question and each id once");
    sorted
}

/// Spans whose trace is another than the application's.
fn elsewhere(told: &Told, spans: &[Span]) -> Vec<String> {
    let elsewhere = spans.iter().filter(|span| span.trace_id != told.trace());
    elsewhere.map(|span| format!("{} {:?} is in trace {}", span.scope_name, span.name, span.trace_id)).collect()
}

/// What is wrong with a generation that should hang under `parent` and say what the application said.
fn wrong_child(what: &str, generation: &Span, parent: &Span) -> Vec<String> {
    let mut wrong = unwanted(what, generation, &handed_on());
    if generation.parent_span_id != parent.span_id {
        wrong.push(format!("{what}: hangs under {:?}, not {:?}", generation.parent_span_id, parent.span_id));
    }
    for key in SAID_BY_SDK {
        let (found, wanted) = (generation.attributes.get(key), parent.attributes.get(key));
        if found != wanted {
            wrong.push(format!("{what}: {key} is {found:?}, and {wanted:?} where the SDK says it"));
        }
    }
    wrong.extend(wrong_metadata(what, generation));
    wrong.extend(outside(what, generation, parent));
    wrong
}

/// Metadata, whose values the SDK writes as JSON: texts come as themselves, and Langfuse reads JSON in texts.
fn wrong_metadata(what: &str, generation: &Span) -> Vec<String> {
    let said = attributes();
    let wanted = said["metadata"].as_object().into_iter().flatten();
    let meant = |key: &str| match generation.metadata(key) {
        Some(Value::String(text)) if text.starts_with('"') => json!(text),
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(json!(text)),
        other => other.unwrap_or_default(),
    };
    let found = wanted.map(|(key, wanted)| (key, meant(key), wanted)).filter(|(_, found, wanted)| found != *wanted);
    found.map(|(key, found, wanted)| format!("{what}: metadata {key} means {found}, not {wanted}")).collect()
}

/// One machine, one clock.
fn outside(what: &str, generation: &Span, parent: &Span) -> Option<String> {
    let allowance = u64::try_from(ALLOWANCE.as_nanos()).expect("a short time");
    let (start, end) = (parent.start - allowance, parent.end + allowance);
    let within = start <= generation.start && generation.start <= generation.end && generation.end <= end;
    let relative = |time: u64| (i128::from(time) - i128::from(parent.start)) / 1_000_000;
    let (from, to, of) = (relative(generation.start), relative(generation.end), relative(parent.end));
    (!within).then(|| format!("{what}: took from {from} to {to} ms of its observation's {of} ms"))
}

/// The requests that the upstream got have the context that the application sent: it passes the gateway unchanged.
async fn assert_context_passed(rig: &Rig, told: &Told) {
    let sent = told.sent();
    for request in rig.upstream.wait_for_received("", sent.len(), SOON).await {
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap_or_default()).expect("a question");
        let sent = &sent[body["messages"][0]["content"].as_str().expect("a text")];
        for name in ["traceparent", "tracestate", "baggage"] {
            assert_eq!(request.header(name), sent[name].as_str(), "{name} of {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_hang_under_the_observations_of_langfuses_sdk() {
    let rig = rig().await;
    let told = run(&rig, "nested").await;
    let spans = rig.take_spans(10).await;
    let (generations, observations) = sorted(&spans);
    let mut wrong = elsewhere(&told, &spans);
    for question in ["plain", "streamed", "parallel one", "parallel two"] {
        let parent = told.observation(&format!("observation of {question}"));
        wrong.extend(wrong_child(question, generations[question], observations[parent]));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nthe application told {:#}", told.0);
    let answers = json!({"plain": "hello", "streamed": "hello é😀", "parallel one": "hello", "parallel two": "hello"});
    assert_eq!(told.0["answers"], answers);
    assert_eq!((generations.len(), observations.len()), (4, 6));
    assert_context_passed(&rig, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_hang_under_the_http_spans_of_an_instrumented_client() {
    let rig = rig().await;
    let told = run(&rig, "instrumented").await;
    let spans = rig.take_spans(3).await;
    let (generations, observations) = sorted(&spans);
    let generation = generations["plain"];
    let request = observations.get(generation.parent_span_id.as_str());
    let request = request.unwrap_or_else(|| panic!("hangs under {:?} of {spans:#?}", generation.parent_span_id));
    let mut wrong = elsewhere(&told, &spans);
    wrong.extend(wrong_child("plain", generation, request));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((request.name.as_str(), request.parent_span_id.as_str()), ("POST", told.observation("root")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_below_another_tracer_is_the_root_that_langfuse_shows() {
    let rig = rig().await;
    let told = run(&rig, "other tracer").await;
    let span = rig.take_span().await;
    let wanted =
        [("attr:langfuse.internal.is_app_root", json!(true)), ("user", Value::Null), ("level", json!("DEFAULT"))];
    let mut wrong = unwanted("plain", &span, &wanted);
    wrong.extend(elsewhere(&told, std::slice::from_ref(&span)));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(span.parent_span_id, told.observation("root"));
    assert_eq!(told.sent()["plain"].get("baggage"), None, "no claim of Langfuse's SDK");
    assert_context_passed(&rig, &told).await;
}
