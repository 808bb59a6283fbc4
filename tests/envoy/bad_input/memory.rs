//! Memory that is used up: it costs content, but no call, no trace, and no more than the budget.

use std::time::Duration;

use serde_json::json;
use testkit::client::{self, Exchange, Response};
use testkit::langfuse::Span;
use testkit::upstream::{Ending, Piece, Script};

use crate::calls::{MIB, answer, asking, body_of, chat, question, stream, usage, whole};
use crate::rig::{Rig, SOON, unwanted};

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_budget_that_is_used_up_costs_content_and_no_call() {
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    rig.upstream.fallback(|_| Some(Script { delay_before_head: Duration::from_millis(300), ..answer() }));
    let prompt = "p".repeat(400_000);
    let make = move |n: usize| {
        chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], "user": format!("u{n}")}))
    };
    let results = client::burst(rig.envoy.addr(), 40, 20, make).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|answer: &Response| answer.status == 200)));
    rig.wait_until_settled(40).await;
    assert!(rig.counter("captures_cut_reason=memory").await > 0);
    let spans =
        rig.langfuse.wait_for_spans(usize::try_from(rig.counter("traces_sent").await).expect("few"), SOON).await;
    rig.langfuse.assert_no_violations();
    let noted = |span: &&Span| span.metadata("input_note") == Some(json!("not kept: memory_budget used up"));
    let cut: Vec<&Span> = spans.iter().filter(noted).collect();
    assert!(!cut.is_empty(), "a gap is said");
    // A trace without content needs next to nothing: none is lost.
    assert_eq!(
        rig.dropped().await,
        0,
        "{:?}",
        rig.envoy.stats().await.iter().filter(|(name, _)| name.contains("dropped")).collect::<Vec<_>>()
    );
    for span in cut {
        let wanted = [("level", json!("DEFAULT")), ("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))];
        let wrong = unwanted("short of memory", span, &wanted);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    // Memory comes back with the end of the calls.
    rig.langfuse.clear();
    let (id, request) = rig.scripted(question(), stream());
    client::send(rig.envoy.addr(), request.clone()).await;
    rig.assert_passed(&id, &request).await;
    let wrong = unwanted("afterwards", &rig.take_span().await, &whole("hello é😀"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_lines_do_not_end_stay_within_the_budget() {
    const STREAMS: usize = 120;
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    let endless =
        stream().pieces(vec![Piece::from([&b"data: "[..], &vec![b'x'; 900_000]].concat())]).ending(Ending::Hang);
    let open = async |rig: &Rig| {
        let (_, request) = rig.scripted(question(), endless.clone());
        let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
        assert!(exchange.read_at_least(900_000).await.expect("a body"));
        exchange
    };
    let first = open(&rig).await;
    let before = rig.envoy.memory_bytes();
    let mut others = Vec::new();
    for _ in 1..STREAMS {
        others.push(open(&rig).await);
    }
    let grown = rig.envoy.memory_bytes().saturating_sub(before);
    drop((first, others));
    rig.wait_for_counter("traces_offered", STREAMS as u64).await;
    assert!(grown < 40 * MIB as u64, "{} MiB more for {STREAMS} streams, with a budget of 1 MiB", grown / MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_traced_while_others_hold_all_memory() {
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    let asking_bytes = |size: usize| asking(&"p".repeat(size));
    let mut holders = Vec::new();
    for size in [vec![300_000; 6], vec![8000; 40], vec![1000; 40], vec![10; 40]].concat() {
        let (_, request) =
            rig.scripted(asking_bytes(size), stream().pieces(body_of(": wait\n\n")).ending(Ending::Hang));
        let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
        exchange.read_at_least(1).await.expect("the head");
        holders.push(exchange);
    }
    let held = holders.len() as u64;
    rig.replay(asking_bytes(200), answer()).await;
    rig.wait_for_counter("traces_offered", 1).await;
    rig.wait_until_settled(1).await;
    assert_eq!(rig.dropped().await, 0, "a trace without content needs next to nothing");
    let wanted = [
        ("level", json!("DEFAULT")),
        ("model", json!("gpt-4o-2024-08-06")),
        ("usage", usage()),
        ("meta:request_model", json!("gpt-4o")),
    ];
    let wrong = unwanted("without memory", &rig.take_span().await, &wanted);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(holders);
    rig.wait_until_settled(held + 1).await;
    rig.langfuse.assert_no_violations();
}
