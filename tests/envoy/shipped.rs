//! The `envoy.yaml` that users start from: valid, and its metric tags do what its comments say.

use serde_json::{Value, json};
use testkit::client;
use testkit::envoy::validate;

use crate::rig::{Rig, SOON, module};

fn shipped() -> String {
    std::fs::read_to_string(testkit::repository_root().join("envoy.yaml")).unwrap()
}

#[test]
fn envoy_accepts_it() {
    module();
    let output = validate(&testkit::repository_root().join("envoy.yaml")).expect("a valid configuration");
    assert!(output.contains("OK"), "{output}");
}

/// Its `stats_tags`, as JSON for a bootstrap.
pub fn tags() -> Vec<Value> {
    let yaml = shipped();
    let after =
        |mark: &'static str| yaml.split(mark).skip(1).map(|rest| rest.lines().next().unwrap().trim().to_owned());
    let tag = |(name, regex): (String, String)| json!({"tag_name": name, "regex": regex.trim_matches('\'')});
    after("tag_name:").zip(after("regex:")).map(tag).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_tags_take_labels_out_of_the_counters() {
    let tags = tags();
    assert_eq!(tags.len(), 4);
    let rig = Rig::start_with(json!({}), |options| options.stats_tags = tags).await;
    client::send(rig.envoy.addr(), client::Request::get("/v1/chat/completions")).await;
    let page = || rig.envoy.admin("/stats/prometheus");
    let wanted = "ai_tracing_calls_skipped{reason=\"method\"} 1";
    let wait = async {
        while !page().await.contains(wanted) {
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(SOON, wait).await;
    assert!(
        found.is_ok(),
        "{}",
        page().await.lines().filter(|line| line.contains("ai_tracing")).collect::<Vec<_>>().join("\n")
    );
}
