//! `tests/kong/smoke.sh` against the real Envoy: it passes where all is well, and fails where it is not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter, validate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::rig::{PUBLIC_KEY, SECRET_KEY, module};

/// Where one run of the kit listens.
struct Addresses {
    upstream: SocketAddr,
    langfuse: SocketAddr,
    control: SocketAddr,
}

impl Addresses {
    /// The gateway must know the addresses before the kit listens there, so they cannot be free ports that somebody
    /// else might take meanwhile: each run has an address of 127/8 for itself.
    fn new() -> Self {
        static RUNS: AtomicU8 = AtomicU8::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 100 + RUNS.fetch_add(1, Ordering::Relaxed), high, low);
        let on = |port: u16| SocketAddr::from((ip, port));
        Self { upstream: on(9101), langfuse: on(9102), control: on(9103) }
    }

    fn arguments(&self) -> Vec<String> {
        let named = [("upstream", self.upstream), ("langfuse", self.langfuse), ("control", self.control)];
        named.iter().flat_map(|(name, addr)| [format!("--{name}"), addr.to_string()]).collect()
    }

    /// An Envoy before the kit, with a filter that has the usual configuration and `more`.
    async fn envoy(&self, more: Value) -> Envoy {
        let mut config = json!({"langfuse_enabled": true, "langfuse_public_key": PUBLIC_KEY,
            "langfuse_secret_key": SECRET_KEY, "langfuse_endpoint": format!("http://{}", self.langfuse),
            "batch_max_age": 300});
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let options = EnvoyOptions::new(self.upstream).with_langfuse(Endpoint::from(self.langfuse));
        Envoy::start(options.with_filter(WasmFilter::new("ai-tracing", module(), &config))).await
    }
}

/// What the script said.
struct Run {
    code: Option<i32>,
    said: String,
}

impl Run {
    #[track_caller]
    fn says(&self, line: &str) {
        assert!(self.said.lines().any(|said| said.starts_with(line)), "no {line:?} in\n{}", self.said);
    }

    #[track_caller]
    fn fails(&self, lines: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.said);
        lines.iter().for_each(|line| self.says(line));
    }
}

fn command(arguments: &[String]) -> Output {
    let script = testkit::repository_root().join("tests/kong/smoke.sh");
    Command::new(script).args(arguments).output().expect("bash and curl")
}

/// Runs the script; its output stands in one text.
async fn smoke(addresses: &Addresses, base_url: String, more: &[&str]) -> Run {
    let mut arguments = addresses.arguments();
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments.push(base_url);
    let output = tokio::task::spawn_blocking(move || command(&arguments)).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let run = Run { code: output.status.code(), said: String::from_utf8_lossy(&said).into_owned() };
    // What it started, it ended: somebody else can listen there.
    for addr in [addresses.upstream, addresses.langfuse, addresses.control] {
        assert!(TcpListener::bind(addr).is_ok(), "the kit still listens on {addr}: {}", run.said);
    }
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_the_filter_passes() {
    let addresses = Addresses::new();
    let envoy = addresses.envoy(json!({})).await;
    let run = smoke(&addresses, envoy.url(), &["--host", "envoy"]).await;
    assert_eq!(run.code, Some(0), "{}\n{}", run.said, envoy.log());
    assert!(!run.said.contains("FAIL") && !run.said.contains("NOTE"), "{}", run.said);
    for check in [
        "hello world (guide, section 4): bytes",
        "hello world (guide, section 4): trace",
        "context in headers (guide, section 5): trace",
        "metadata in the body (guide, section 6): trace",
        "a stream: trace",
        "a client that leaves mid-stream: trace",
        "vLLM's /generate: trace",
        "a question of 200 KB: trace",
        "200 quick calls: bytes",
        "Langfuse is dead, then it is back: every trace arrives",
        "every call has one trace: none lost, none doubled",
        "no key is in a trace",
    ] {
        run.says(&format!("PASS  {check}"));
    }
    let passed = run.said.lines().filter(|line| line.starts_with("PASS  ")).count();
    run.says(&format!("{passed} checks: {passed} passed, 0 failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_the_filter_fails() {
    let addresses = Addresses::new();
    let envoy = Envoy::start(EnvoyOptions::new(addresses.upstream)).await;
    let run = smoke(&addresses, envoy.url(), &["--wait", "1"]).await;
    run.fails(&[
        "PASS  hello world (guide, section 4): bytes",
        "PASS  200 quick calls: bytes",
        "FAIL  all calls: every trace arrives: 0 of 2",
        "FAIL  hello world (guide, section 4): trace: no trace",
        "FAIL  Langfuse is dead: the filter has met it",
        "FAIL  every call has one trace",
        "FAIL  trace ids are distinct: no trace has arrived",
        "FAIL  no key is in a trace: no trace has arrived",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_are_missing_or_not_true_fail() {
    let addresses = Addresses::new();
    let more = json!({"ignore_paths": ["/v1/embeddings"], "max_output_bytes": 400, "environment": "smoke"});
    let envoy = addresses.envoy(more).await;
    let run = smoke(&addresses, envoy.url(), &["--wait", "10"]).await;
    run.fails(&[
        "PASS  hello world (guide, section 4): trace",
        "PASS  embeddings: bytes",
        "FAIL  embeddings: trace: no trace",
        "FAIL  an answer of 1 MB: trace: output is",
        "FAIL  every call has one trace: none lost, none doubled: embeddings: 1 calls, 0 traces",
        "PASS  trace ids are distinct",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_langfuse_refuses_fail() {
    let addresses = Addresses::new();
    let envoy = addresses.envoy(json!({})).await;
    let run = smoke(&addresses, envoy.url(), &["--wait", "1", "--keys", "pk-lf-testkit:sk-lf-another"]).await;
    run.fails(&["PASS  a stream: bytes", "FAIL  a stream: trace: no trace"]);
}

/// Passes bytes on, with one word replaced by another of its length.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, word: &'static str, by: &'static str) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &mut buffer[..read];
        if let Some(place) = bytes.windows(word.len()).position(|window| window == word.as_bytes()) {
            bytes[place..place + word.len()].copy_from_slice(by.as_bytes());
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// A proxy before `gateway` that alters one answer and one question.
async fn altering(gateway: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, to_client) = client.into_split();
            let (from_gateway, to_gateway) = TcpStream::connect(gateway).await.unwrap().into_split();
            tokio::spawn(pass_on(from_client, to_gateway, "The weather of", "The WEATHER of"));
            tokio::spawn(pass_on(from_gateway, to_client, "superpositions", "SUPERPOSITIONS"));
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_alters_bytes_fails() {
    let addresses = Addresses::new();
    let envoy = addresses.envoy(json!({})).await;
    let between = altering(envoy.addr()).await;
    let run = smoke(&addresses, format!("http://{between}"), &[]).await;
    run.fails(&[
        "FAIL  hello world (guide, section 4): bytes: the client got other bytes than the upstream sent",
        "FAIL  a tool call: bytes: the upstream got other bytes than the client sent",
        "PASS  hello world (guide, section 4): trace",
        "PASS  a stream: bytes",
    ]);
    assert!(run.said.contains(" 2 failed\n"), "{}", run.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_or_leads_elsewhere_is_said_at_once() {
    let addresses = Addresses::new();
    let run = smoke(&addresses, "http://127.0.0.1:1".into(), &[]).await;
    run.fails(&["FAIL  the gateway answers: curl's exit code 7", "1 checks: 0 passed, 1 failed"]);
    let elsewhere = testkit::upstream::Upstream::start().await;
    let run = smoke(&addresses, format!("http://{}", elsewhere.addr()), &[]).await;
    run.fails(&["FAIL  the gateway's service leads to the kit: HTTP 404; let it lead to http://127."]);
}

#[test]
fn printed_configurations_are_complete() {
    let printed = |gateway: &str| {
        let output = command(&["--langfuse".into(), "10.1.2.3:99".into(), format!("--print-{gateway}")]);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let left = text.lines().find(|line| line.contains("@UP") || line.contains("@LANG") || line.contains("_KEY@"));
        assert_eq!(left, None);
        for wanted in ["127.0.0.1", "9101", "http://10.1.2.3:99", PUBLIC_KEY, SECRET_KEY] {
            assert!(text.contains(wanted), "no {wanted} in\n{text}");
        }
        text
    };
    printed("kong");
    let nginx = printed("nginx");
    let token =
        nginx.split("proxy_wasm ai_tracing '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a quoted token");
    let config: Value = serde_json::from_str(token).expect("JSON in the token");
    // nginx refuses a longer one.
    assert!(token.len() < 4096 && config["langfuse_enabled"] == true);
    module();
    let folder = std::env::temp_dir().join(format!("smoke-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("envoy.yaml"), printed("envoy")).unwrap();
    let validated = validate(&folder.join("envoy.yaml"));
    std::fs::remove_dir_all(&folder).unwrap();
    validated.expect("Envoy takes it");
}

#[test]
fn wrong_arguments_are_said() {
    for (arguments, wanted) in [
        (vec![], "usage: smoke.sh"),
        (vec!["--wait", "soon", "http://x"], "--wait is a number of seconds, not soon"),
        (vec!["--nonsense"], "unknown option --nonsense"),
        (vec!["--keys"], "--keys needs a value"),
    ] {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let output = command(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(wanted), "{arguments:?}: {said}");
    }
    let help = command(&["--help".to_owned()]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("langfuse_endpoint"));
}
