//! Several Langfuse projects behind one filter: each call to its own, and none to another's.

use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::envoy::{Endpoint, EnvoyOptions};
use testkit::langfuse::{Behaviour, StandIn, StandInOptions};

use super::{assert_each_once, assert_log_is_modest, call, calls, numbers, rig_with};
use crate::calls::answer;
use crate::rig::{Rig, SOON};

/// A project of this name, with keys of its own.
async fn project(name: &str) -> StandIn {
    let options = StandInOptions {
        public_key: format!("pk-lf-{name}"),
        secret_key: format!("sk-lf-{name}"),
        ..StandInOptions::default()
    };
    StandIn::start(options).await
}

/// The entry of the table for calls like `when`.
fn entry(name: &str, langfuse: &StandIn, when: &Value) -> Value {
    let mut entry = when.clone();
    entry["langfuse_endpoint"] = json!(langfuse.base_url());
    entry["langfuse_public_key"] = json!(format!("pk-lf-{name}"));
    entry["langfuse_secret_key"] = json!(format!("sk-lf-{name}"));
    entry
}

/// Clusters for these.
fn clusters(options: &mut EnvoyOptions, langfuses: &[&StandIn]) {
    for langfuse in langfuses {
        let endpoint = Endpoint::from(langfuse.addr());
        options.clusters.push((endpoint.authority(), endpoint));
    }
}

/// A second route, `special`, before `everything`.
fn special_route(bootstrap: &mut Value) {
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    let hcm = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = hcm["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
    let mut special = routes[0].clone();
    special["name"] = json!("special");
    special["match"] = json!({"prefix": "/special"});
    routes.insert(0, special);
}

/// A call of that number to this path, with these headers more.
async fn make(rig: &Rig, n: usize, path: &str, headers: &[(&str, &str)]) {
    let mut request = Request { path: path.into(), ..call(n) };
    for (name, value) in headers {
        request = request.with_header(name, *value);
    }
    let response = client::send(rig.envoy.addr(), request).await;
    assert!(response.status == 200 && response.body == answer().body(), "call {n}: {response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_decides_first_match_first_and_the_default_is_last() {
    const PLAIN: &str = "/v1/chat/completions";
    let by = ["header", "consumer", "prefix", "route"];
    let (header, consumer, prefix, route) =
        tokio::join!(project(by[0]), project(by[1]), project(by[2]), project(by[3]));
    let table = json!([
        entry(by[0], &header, &json!({"header": {"X-Team": "search", "x-stage": "*"}})),
        entry(by[1], &consumer, &json!({"consumer": "alice"})),
        entry(by[2], &prefix, &json!({"path_prefix": "/team-b"})),
        entry(by[3], &route, &json!({"route": "special"})),
    ]);
    let rig = Rig::start_with(json!({"projects": table}), |options| {
        clusters(options, &[&header, &consumer, &prefix, &route]);
        options.customise = Some(special_route);
    })
    .await;
    rig.upstream.fallback(|_| Some(answer()));
    make(&rig, 0, PLAIN, &[("x-team", "search"), ("x-stage", "any")]).await;
    // All that an entry names must match; of two headers that differ, either could be the forged one.
    make(&rig, 1, PLAIN, &[("x-team", "search")]).await;
    make(&rig, 2, PLAIN, &[("x-team", "search"), ("x-team", "other"), ("x-stage", "any")]).await;
    make(&rig, 3, PLAIN, &[("x-consumer-username", "alice")]).await;
    make(&rig, 4, PLAIN, &[("x-consumer-username", "alice"), ("x-team", "search"), ("x-stage", "1")]).await;
    make(&rig, 5, "/team-b/v1/chat/completions?api-version=1", &[]).await;
    make(&rig, 6, "/team-bc/v1/chat/completions", &[]).await;
    make(&rig, 7, "/special/v1/chat/completions", &[]).await;
    make(&rig, 8, PLAIN, &[]).await;
    for (langfuse, wanted) in [
        (&header, vec![0, 4]),
        (&consumer, vec![3]),
        (&prefix, vec![5]),
        (&route, vec![7]),
        (&rig.langfuse, vec![1, 2, 6, 8]),
    ] {
        assert_eq!(numbers(&langfuse.wait_for_spans(wanted.len(), SOON).await), wanted);
        langfuse.assert_no_violations();
        assert!(langfuse.requests().iter().all(|request| request.status == Some(200)), "wrong keys");
    }
    rig.wait_until_settled(9).await;
    assert_eq!(rig.dropped().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_dead_does_not_hold_up_another() {
    let dead = project("dead").await;
    dead.set_behaviour(Behaviour::NeverAnswer);
    let table = json!([entry("dead", &dead, &json!({"header": {"x-team": "dead"}}))]);
    let more = json!({"projects": table, "langfuse_timeout": 200, "queue_max_items": 10, "batch_max_items": 5});
    let rig = Rig::start_with(more, |options| clusters(options, &[&dead])).await;
    rig.upstream.fallback(|_| Some(answer()));
    for round in 0..4 {
        for n in round * 10..round * 10 + 10 {
            make(&rig, n, "/v1/chat/completions", if n % 2 == 0 { &[("x-team", "dead")] } else { &[] }).await;
        }
        // Those of the healthy one are there while the dead one is asked in vain.
        let odd: Vec<usize> = (0..round * 10 + 10).filter(|n| n % 2 == 1).collect();
        assert_eq!(numbers(&rig.langfuse.wait_for_spans(odd.len(), SOON).await), odd);
    }
    rig.wait_for_counter("traces_sent", 20).await;
    rig.wait_for_counter("traces_offered", 40).await;
    dead.wait_for_requests(3, SOON).await;
    let dropped = rig.counter("traces_dropped_reason=queue_full").await;
    assert!((5..=10).contains(&dropped) && rig.dropped().await == dropped, "{dropped} of 20 beyond the queue of 10");
    // It comes back: what was kept is delivered there, and nowhere else.
    dead.set_behaviour(Behaviour::Normal);
    let kept = usize::try_from(20 - dropped).expect("a few");
    let spans = dead.wait_for_spans(kept, SOON).await;
    rig.wait_until_settled(40).await;
    assert!(spans.len() == kept && numbers(&spans).iter().all(|n| n % 2 == 0), "{:?}", numbers(&spans));
    assert_eq!((rig.langfuse.spans().len(), rig.dropped().await), (20, dropped));
    for langfuse in [&dead, &rig.langfuse] {
        langfuse.assert_no_violations();
    }
    let log = rig.envoy.log();
    assert!(log.contains(&format!("no answer from Langfuse at {}", dead.base_url())), "says which: {log}");
    assert_log_is_modest(&log, super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_project_without_keys_pass_and_go_to_no_other() {
    let missing = json!({"header": {"x-team": "new"}, "langfuse_public_key": "{vault://env/not-there}",
        "langfuse_secret_key": "{vault://env/not-there}"});
    let rig = rig_with(StandInOptions::default(), json!({"projects": [missing]}), |_| {}).await;
    for n in 0..4 {
        make(&rig, n, "/v1/chat/completions", &[("x-team", "new")]).await;
    }
    calls(&rig, 4..8).await;
    assert_each_once(&rig.langfuse.wait_for_spans(4, SOON).await, 4..8);
    rig.wait_until_settled(4).await;
    rig.wait_for_counter("calls_skipped_reason=no_project", 4).await;
    rig.langfuse.assert_no_violations();
    let log = rig.envoy.log();
    assert!(
        log.contains("calls of one project are not traced: projects, entry 1") && log.contains("NOT_THERE"),
        "{log}"
    );
    assert_log_is_modest(&log, super::VMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_sends_what_is_queued_of_each_project() {
    let other = project("other").await;
    let table = json!([entry("other", &other, &json!({"header": {"x-team": "other"}}))]);
    let more = json!({"projects": table, "batch_max_age": 60_000});
    let rig = rig_with(StandInOptions::default(), more, |options| clusters(options, &[&other])).await;
    // Its self check leaves a connection open, too.
    other.wait_for_requests(2, SOON).await;
    for n in 0..10 {
        make(&rig, n, "/v1/chat/completions", if n % 2 == 0 { &[] } else { &[("x-team", "other")] }).await;
    }
    super::assert_kept(&rig, 10).await;
    let Rig { langfuse, envoy, .. } = rig;
    let log = envoy.terminate().await;
    assert_eq!(numbers(&langfuse.wait_for_spans(5, SOON).await), [0, 2, 4, 6, 8], "{log}");
    assert_eq!(numbers(&other.wait_for_spans(5, SOON).await), [1, 3, 5, 7, 9], "{log}");
}
