//! What the script asks: plain text over HTTP, one word after the other in the path.
//!
//! ```text
//! /ready             the run that is served
//! /answer/NAME       the bytes that the upstream sent for the call
//! /question/NAME     the bytes that the upstream received
//! /trace/NAME        PASS, PASS NOTE …, or FAIL …: what is wrong with the call's trace
//! /whole/CHECK       the same for all traces together: once, untraced, ids, times, secrets, rules
//! /wait/SECONDS      waits until each call has its trace: PASS or FAIL
//! /langfuse/HOW      normal, unavailable (503), refusing (401), dead (connections are reset),
//!                    breaking (it takes the traces, but its answer breaks off)
//! /failed/NAME/N/SECONDS  N calls that the gateway answered itself have become errors
//! /failures          how many requests Langfuse did not take so far, and traces that came again
//! /failures/N/SECONDS  waits until these are N
//! ```

use super::expected::{Traced, Verdict, judge};
use super::kit::Kit;
use super::whole;
use crate::http1::{Body, Connection, headers, write_head};
use crate::server::Server;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

type Reply = (u16, Vec<u8>);

/// Serves the script.
pub(super) fn serve(bind: SocketAddr, kit: Arc<Kit>) -> Server {
    Server::start("control", bind, move |stream| {
        let kit = Arc::clone(&kit);
        async move { drop(connection(stream, &kit).await) }
    })
}

async fn connection(stream: TcpStream, kit: &Kit) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(head) = connection.request_head().await? {
        connection.body(head.framing()?, &mut Body::default()).await?;
        let (status, body) = reply(&head.target, kit).await;
        let length = body.len().to_string();
        let headers = headers(&[("content-type", "text/plain"), ("content-length", &length)]);
        connection.write(&write_head(&format!("HTTP/1.1 {status} Smoke"), &headers)).await?;
        connection.write(&body).await?;
    }
    Ok(())
}

async fn reply(target: &str, kit: &Kit) -> Reply {
    let words: Vec<&str> = target.split('/').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["ready"] => text(&kit.options.run),
        ["answer", name] => bytes(kit.answer(name).map(|answer| answer.body())),
        ["question", name] => bytes(kit.requests(name).pop().and_then(|request| request.body)),
        ["trace", name] => text(&trace(name, kit).to_string()),
        ["whole", check] => all(check, kit).map_or_else(unknown, |verdict| text(&verdict.to_string())),
        ["wait", time] => text(&wait(seconds(time), kit).await.to_string()),
        ["langfuse", how] if kit.behave(how) => text("PASS"),
        ["failed", name, count, time] => {
            let count = count.parse().unwrap_or(usize::MAX);
            kit.wait_for_spans(name, count, seconds(time)).await;
            text(&whole::failed(kit, name, count).to_string())
        }
        ["failures"] => text(&kit.failures().to_string()),
        ["failures", count, time] => {
            let failed = kit.wait_for_failures(count.parse().unwrap_or(usize::MAX), seconds(time)).await;
            let verdict = Verdict::default();
            text(&verdict.unless(failed, || "the filter has not called Langfuse".to_owned()).to_string())
        }
        _ => unknown(),
    }
}

fn trace(name: &str, kit: &Kit) -> Verdict {
    let (requests, spans) = (kit.requests(name), kit.spans(name));
    let Some(question) = requests.last() else { return Verdict::fail("the call has not reached the upstream") };
    let (Some(span), Some(answer)) = (spans.last(), kit.answer(name)) else { return Verdict::fail("no trace") };
    judge(&Traced { name, span, question, answer: &answer, host: kit.options.host })
}

fn all(check: &str, kit: &Kit) -> Option<Verdict> {
    Some(match check {
        "once" => whole::once(kit),
        "untraced" => whole::untraced(kit),
        "ids" => whole::ids(kit),
        "times" => whole::times(kit),
        "secrets" => whole::secrets(kit),
        "rules" => whole::rules(kit),
        _ => return None,
    })
}

async fn wait(time: Duration, kit: &Kit) -> Verdict {
    let arrived = kit.wait_for_traces(time).await;
    let tally = kit.tally();
    let calls: usize = tally.values().map(|(calls, _)| calls).sum();
    let traces: usize = tally.values().map(|(_, traces)| traces).sum();
    let verdict = Verdict::default().unless(calls > 0, || "no call has reached the upstream".to_owned());
    verdict.unless(arrived, || format!("{traces} of {calls} traces have arrived within {} s", time.as_secs()))
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap_or(0))
}

fn text(line: &str) -> Reply {
    (200, format!("{line}\n").into_bytes())
}

fn bytes(found: Option<Vec<u8>>) -> Reply {
    found.map_or((404, b"the call has not reached the upstream\n".to_vec()), |bytes| (200, bytes))
}

fn unknown() -> Reply {
    (404, b"unknown\n".to_vec())
}
