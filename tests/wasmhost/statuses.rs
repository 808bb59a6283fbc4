//! Every host call that the module imports, failing in every way: traffic passes, nothing traps, no rule is broken.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wasm_host::{Answer, Exchange, Kong, Personality, Setup, Worker};

use crate::exchanges::{chat, stream};
use crate::rig::{NAME, config, module};

/// Statuses of the ABI and beyond, some that no host defines, and garbage.
const STATUSES: [u32; 19] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 200, 0x7FFF_FFFF, 0x8000_0000, u32::MAX];
/// Statuses for single failures: not found, bad argument, internal failure, garbage.
const FEW: [u32; 4] = [1, 2, 10, u32::MAX];
/// Single failures are tried at so many uses of a call.
const USES: u32 = 12;
/// It does not return.
const WITHOUT_STATUS: &str = "proc_exit";
/// By this the filter tells the hosts apart: a WasmX that says "not found" of `ngx.pid` says that it is Envoy.
const CLAIMS_TO_BE_ENVOY: (&str, u32) = ("proxy_get_property", 1);

fn hosts() -> [Personality; 3] {
    [Personality::envoy(), Personality::kong(Kong::V3_4), Personality::kong(Kong::V3_9)]
}

fn calls(module_name: &str) -> Vec<String> {
    let imports = module().imports().into_iter().filter(|(module, _)| module == module_name);
    imports.map(|(_, name)| name).filter(|name| name != WITHOUT_STATUS).collect()
}

/// Two exchanges, ticks, and answers to all calls that the filter makes; what went wrong.
fn live(setup: Setup) -> Vec<String> {
    let mut worker = match Worker::start(module(), setup) {
        Ok(worker) => worker,
        Err(error) => return vec![error.to_string()],
    };
    let mut wrong = Vec::new();
    for exchange in [chat(), stream()] {
        serve(&mut worker);
        wrong.extend(harm(&mut worker, &exchange));
    }
    (0..10).for_each(|_| serve(&mut worker));
    wrong.extend(worker.take_violations().iter().map(ToString::to_string));
    wrong
}

fn serve(worker: &mut Worker) {
    worker.advance_ms(60);
    for call in worker.callouts() {
        worker.answer(call.token, Answer::status(200));
    }
}

fn harm(worker: &mut Worker, exchange: &Exchange) -> Vec<String> {
    let passed = worker.exchange(0, exchange);
    let unchanged = passed.request_body == Some(exchange.request.body.concat())
        && passed.response_body == exchange.response.pieces.concat();
    let mut harm = passed.harm;
    harm.extend((!unchanged).then(|| "bytes were changed".to_owned()));
    harm
}

fn setup(host: &Personality) -> Setup {
    Setup::new(host.clone()).root(NAME, config(&Value::Null))
}

/// What went wrong, and with which statuses.
#[derive(Default)]
struct Findings(BTreeMap<String, BTreeSet<String>>);

impl Findings {
    fn add(&mut self, host: &Personality, call: &str, when: &str, wrong: Vec<String>) {
        for text in wrong {
            self.0.entry(format!("{}, {call}: {text}", host.name())).or_default().insert(when.to_owned());
        }
    }

    fn assert_none(&self) {
        let lines: Vec<String> = self.0.iter().map(|(text, when)| format!("{text}\n    when {when:?}")).collect();
        assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
    }
}

fn is_fair(host: &Personality, call: &str, status: u32) -> bool {
    *host == Personality::envoy() || (call, status) != CLAIMS_TO_BE_ENVOY
}

/// Every status, always and once at each of the first uses.
fn fail_in_every_way(module_name: &str) {
    let mut findings = Findings::default();
    for host in hosts() {
        for call in calls(module_name) {
            for (status, garbage) in STATUSES.iter().flat_map(|status| [(*status, false), (*status, true)]) {
                if is_fair(&host, &call, status) {
                    let failing = setup(&host).host_call_answers(&call, move |_| Some(status));
                    let failing = if garbage { failing.garbage() } else { failing };
                    findings.add(&host, &call, &format!("always {status}"), live(failing));
                }
            }
            for (status, fatal) in FEW.iter().flat_map(|status| (1..=USES).map(move |nth| (*status, nth))) {
                if is_fair(&host, &call, status) {
                    let failing = setup(&host).host_call_answers(&call, move |nth| (nth == fatal).then_some(status));
                    findings.add(&host, &call, &format!("{status} at use {fatal}"), live(failing.garbage()));
                }
            }
        }
    }
    findings.assert_none();
}

#[test]
fn without_failures_all_is_well() {
    let mut findings = Findings::default();
    hosts().iter().for_each(|host| findings.add(host, "nothing", "never", live(setup(host))));
    findings.assert_none();
}

#[test]
fn a_call_of_the_proxy_that_fails_harms_nothing() {
    fail_in_every_way("env");
}

#[test]
fn a_call_of_the_system_that_fails_harms_nothing() {
    fail_in_every_way("wasi_snapshot_preview1");
}
