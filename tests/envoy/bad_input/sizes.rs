//! Bodies beyond the limits: they pass whole, and only so much of them is kept and looked at.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::upstream::Script;

use super::case::{Case, case, check};
use crate::calls::{MIB, answer, body_of, delta, events, gzip, question, raw, saying, usage, with_encoding};
use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies() {
    let rig = Rig::start(json!({})).await;
    check(&rig, vec![large_request(), answer_of_10_mb(), answer_of_20_mb(), long_stream(), bomb()]).await;
    rig.wait_until_settled(5).await;
    assert_eq!(rig.dropped().await, 0);
}

fn large_request() -> Case {
    let prompt = "p".repeat(50 * MIB);
    let request =
        raw(format!(r#"{{"model":"gpt-large","messages":[{{"role":"user","content":"{prompt}"}}],"user":"late"}}"#));
    let size = request.body.len();
    case(
        "50 MB request",
        request,
        answer(),
        &[
            ("level", json!("DEFAULT")),
            ("text", json!("hello")),
            ("meta:request_model", json!("gpt-large")),
            ("usage", usage()),
            ("meta:input_bytes", json!(size)),
            ("meta:input_note", json!("longer than is looked at (16 MiB)")),
        ],
    )
}

fn text_of(mib: usize) -> String {
    saying(&"t".repeat(mib * MIB), "stop").to_string()
}

fn answer_of_10_mb() -> Case {
    let text = text_of(10);
    let size = text.len();
    case(
        "10 MB answer",
        question(),
        answer().pieces(body_of(text)),
        &[
            ("level", json!("DEFAULT")),
            ("usage", usage()),
            ("meta:output_bytes", json!(size)),
            ("meta:output_note", json!("cut at its limit")),
        ],
    )
}

fn answer_of_20_mb() -> Case {
    let text = text_of(20);
    let size = text.len();
    case(
        "20 MB answer",
        question(),
        answer().pieces(body_of(text)),
        &[
            // What stands behind 16 MiB (here the model that answered and the usage) is not looked at.
            ("level", json!("DEFAULT")),
            ("model", json!("gpt-4o")),
            ("usage", Value::Null),
            ("meta:output_bytes", json!(size)),
            ("meta:output_note", json!("longer than is looked at (16 MiB)")),
        ],
    )
}

fn long_stream() -> Case {
    let long: Vec<String> = (0..200).map(|_| delta(&"s".repeat(20_000), &Value::Null)).chain(events()).collect();
    case(
        "4 MB stream",
        question(),
        Script::sse(&long, Duration::ZERO),
        &[("level", json!("DEFAULT")), ("usage", usage()), ("meta:output_note", json!("cut at its limit"))],
    )
}

fn bomb() -> Case {
    case(
        "bomb",
        question(),
        with_encoding(answer().pieces(body_of(gzip(&vec![b' '; 40 * MIB]))), "gzip"),
        &[("meta:status_code", json!(200))],
    )
}
