//! What a platform team reads at `/stats/prometheus`, with the tags of the shipped `envoy.yaml`.

use std::time::Duration;

use serde_json::json;
use testkit::client::{self, AbortAt, send_and_abort};
use testkit::upstream::{Ending, Piece, Script};

use crate::calls::{answer, chat, events, question, stream};
use crate::rig::{Rig, SOON};
use crate::shipped::tags;

const PROVIDER: &str = r#"provider="openai_compatible""#;

/// Envoy shows a histogram only after a flush, which is every 5 s or, with this, whenever it is asked.
fn flush_when_asked(bootstrap: &mut serde_json::Value) {
    bootstrap["stats_flush_on_admin"] = json!(true);
}

async fn rig() -> Rig {
    Rig::start_with(json!({}), |options| {
        options.stats_tags = tags();
        options.customise = Some(flush_when_asked);
    })
    .await
}

/// The value of a sample whose name is this and which has all of these labels.
fn sample(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let is = |line: &&str| {
        let (series, _) = line.rsplit_once(' ').unwrap_or_default();
        let (own, all) = series.split_once('{').unwrap_or((series, ""));
        own == name && labels.iter().all(|label| all.contains(label))
    };
    page.lines().find(is)?.rsplit_once(' ')?.1.parse().ok()
}

/// Waits until all samples have their values; the page.
async fn wait_for(rig: &Rig, wanted: &[(&str, Vec<&str>, f64)]) -> String {
    let mut page = String::new();
    let wait = async {
        loop {
            page = rig.envoy.admin("/stats/prometheus").await;
            if wanted.iter().all(|(name, labels, value)| sample(&page, name, labels) == Some(*value)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(SOON, wait).await.is_ok();
    let lines = || {
        page.lines()
            .filter(|line| line.contains("ai_tracing") && !line.contains("_bucket"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(in_time, "{wanted:?} of\n{}", lines());
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_tokens_and_latencies_are_shown_by_model_and_result() {
    const MODEL: &str = r#"model="gpt-4o-2024-08-06""#;
    let rig = rig().await;
    let slow = stream().pieces(stream().pieces.into_iter().map(late).collect());
    rig.replay(question(), answer()).await;
    rig.replay(question(), slow).await;
    let error = json!({"error": {"message": "overloaded", "type": "server_error"}});
    rig.replay(question(), Script::json(500, &error)).await;
    // One piece of content, and the client has left before the rest.
    let cut = Script::sse(&events()[..1], Duration::ZERO).ending(Ending::Hang);
    let (id, request) = rig.scripted(question(), cut);
    send_and_abort(rig.envoy.addr(), request, AbortAt::ResponseBytes(10)).await;
    rig.upstream.wait_until_gone(&id, 1, SOON).await;
    let calls = "ai_tracing_calls";
    let by = |result| vec![result, PROVIDER, MODEL];
    let page = wait_for(
        &rig,
        &[
            (calls, by(r#"result="ok""#), 2.0),
            (calls, vec![r#"result="error""#, PROVIDER, r#"model="other""#], 1.0),
            (calls, by(r#"result="aborted""#), 1.0),
            ("ai_tracing_time_to_first_token_ms_count", vec![PROVIDER, MODEL], 2.0),
            ("ai_tracing_call_duration_ms_count", vec![PROVIDER, MODEL], 3.0),
            // Two usages of 5 and 2 were stated.
            ("ai_tracing_tokens_input", vec![PROVIDER, MODEL], 10.0),
            ("ai_tracing_tokens_output", vec![PROVIDER, MODEL], 4.0),
            ("ai_tracing_traces_sent", vec![], 4.0),
            ("ai_tracing_traces_offered", vec![], 4.0),
        ],
    )
    .await;
    let value = |name: &str| sample(&page, name, &[PROVIDER, MODEL]).unwrap_or_default();
    // The slow stream took 30 ms to its first token and 90 ms in all; Envoy keeps sums as estimates.
    assert!(value("ai_tracing_time_to_first_token_ms_sum") >= 25.0 && value("ai_tracing_call_duration_ms_sum") >= 80.0);
    assert!(sample(&page, "ai_tracing_export_duration_ms_count", &[]) >= Some(1.0), "{page}");
    assert!(sample(&page, "ai_tracing_export_calls", &[r#"result="ok""#]) >= Some(1.0), "{page}");
    let names = page.lines().filter_map(|line| line.split(['{', ' ']).next());
    let labels = ["reason", "result", "provider", "model"];
    let left: Vec<&str> =
        names.filter(|name| name.starts_with("ai_tracing") && labels.iter().any(|l| name.contains(l))).collect();
    assert!(left.is_empty(), "labels are left in the names {left:?}");
}

fn late(piece: Piece) -> Piece {
    Piece { delay_before: Duration::from_millis(30), ..piece }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_any_characters_is_a_label_and_breaks_no_page() {
    let rig = rig().await;
    let odd = [
        ("meta-llama/Llama-3.1 8B", "meta-llama_Llama-3.1_8B"),
        ("a\"b\\c\nd{e}=f", "a_b_c_d_e__f"),
        ("é", "__"),
        ("x_model=y_result=z_reason=w", "x_model_y_result_z_reason_w"),
        ("1.2.3", "1.2.3"),
        // Envoy cuts a dot at the end.
        ("..a..b.", "..a..b"),
    ];
    for (model, _) in &odd {
        let body =
            json!({"model": model, "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]});
        rig.replay(chat(&json!({"model": "asked-for", "messages": []})), Script::json(200, &body)).await;
    }
    // What a caller asks for and no answer names is no label.
    let hostile = chat(&json!({"model": "../../x", "messages": []}));
    rig.replay(hostile, Script::json(404, &json!({"error": {"message": "no such model"}}))).await;
    let labels: Vec<String> = odd.iter().map(|(_, label)| format!("model=\"{label}\"")).collect();
    let mut wanted: Vec<(&str, Vec<&str>, f64)> = labels
        .iter()
        .map(|label| ("ai_tracing_calls", vec![r#"result="ok""#, PROVIDER, label.as_str()], 1.0))
        .collect();
    wanted.push(("ai_tracing_calls", vec![r#"result="error""#, r#"model="other""#], 1.0));
    let page = wait_for(&rig, &wanted).await;
    assert!(!page.contains("asked-for") && !page.contains("/x"), "{page}");
    // Each line is a comment or a sample: name, labels, number.
    let well_formed = |line: &&str| {
        line.is_empty()
            || line.starts_with('#')
            || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok())
    };
    let odd_lines: Vec<&str> = page.lines().filter(|line| !well_formed(line)).collect();
    assert!(odd_lines.is_empty(), "{odd_lines:?}");
    assert_eq!(client::send(rig.envoy.addr(), question()).await.status, 404, "the upstream has no script for it");
}
