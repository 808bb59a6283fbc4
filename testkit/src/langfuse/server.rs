//! Connections of the stand-in: reads requests, misbehaves as told, routes.

use super::behaviour::{AnswerFormat, Behaviour, ResetAt};
use super::state::{RequestRecord, State};
use super::{StandInOptions, auth, ingestion, otlp};
use crate::http1::{Body, Connection, Headers, RequestHead, header, headers, write_head};
use crate::waiting::Watched;
use auth::Refusal;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// An RST discards what the peer has not read yet; this gives it the time to read the half answer.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// A whole request.
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head.headers, name)
    }
}

/// An answer: status, headers, body.
pub(super) struct Answer {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "application/json", body.into())
    }

    fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: headers(&[("content-type", content_type)]), body: body.into() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.push(("content-length".into(), self.body.len().to_string().into_bytes()));
        let mut bytes = write_head(&format!("HTTP/1.1 {} Langfuse", self.status), &headers);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let content_type = if refusal.body.starts_with('{') { "application/json" } else { "text/plain" };
        Self::new(refusal.status, content_type, refusal.body)
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, state: Arc<Watched<State>>, options: Arc<StandInOptions>) {
    if state.change(State::drops_this_connection) {
        return;
    }
    let mut connection = Connection::new(stream);
    // An error is a peer that left or does not speak HTTP: nobody is there to be told.
    while let Ok(Some(request)) = read(&mut connection).await {
        match exchange(connection, request, &state, &options).await {
            Ok(Some(same)) => connection = same,
            Ok(None) | Err(_) => return,
        }
    }
}

async fn read(connection: &mut Connection) -> io::Result<Option<Request>> {
    let Some(head) = connection.request_head().await? else { return Ok(None) };
    let mut body = Body::default();
    let framing = head.framing()?;
    connection.body(framing, &mut body).await?;
    Ok(Some(Request { head, body: body.bytes }))
}

async fn exchange(
    mut connection: Connection,
    request: Request,
    state: &Watched<State>,
    options: &StandInOptions,
) -> io::Result<Option<Connection>> {
    match state.change(State::next_behaviour).for_body(&request.body) {
        behaviour @ (Behaviour::Normal
        | Behaviour::RefuseContaining(_)
        | Behaviour::ItemErrors { .. }
        | Behaviour::PartialSuccess { .. }) => {
            connection.write(&handle(&request, state, options, &behaviour).encode()).await?;
        }
        Behaviour::Trickle(pause) => {
            for byte in handle(&request, state, options, &Behaviour::Normal).encode() {
                connection.write(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Behaviour::Delay(delay) => {
            let answer = handle(&request, state, options, &Behaviour::Normal);
            tokio::time::sleep(delay).await;
            connection.write(&answer.encode()).await?;
        }
        Behaviour::Status { code, headers, body } => {
            record(&request, Some(code), 0, state);
            let headers = headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
            connection.write(&Answer { status: code, headers, body: body.into() }.encode()).await?;
        }
        Behaviour::NeverAnswer => {
            record(&request, None, 0, state);
            connection.gone().await;
            return Ok(None);
        }
        Behaviour::Reset(at) => {
            reset(connection, &request, at, state, options).await?;
            return Ok(None);
        }
        Behaviour::DropAtAccept => {
            record(&request, None, 0, state);
            return Ok(None);
        }
    }
    Ok(Some(connection))
}

async fn reset(
    mut connection: Connection,
    request: &Request,
    at: ResetAt,
    state: &Watched<State>,
    options: &StandInOptions,
) -> io::Result<()> {
    match at {
        ResetAt::BeforeAnswer => record(request, None, 0, state),
        ResetAt::MidAnswer => {
            let answer = handle(request, state, options, &Behaviour::Normal).encode();
            connection.write(&answer[..answer.len() - 1]).await?;
            tokio::time::sleep(BEFORE_RESET).await;
        }
    }
    connection.reset();
    Ok(())
}

/// Answers as Langfuse does, storing what it would store.
fn handle(request: &Request, state: &Watched<State>, options: &StandInOptions, behaviour: &Behaviour) -> Answer {
    let path = request.head.target.split('?').next().unwrap_or_default();
    let answer = match (request.head.method.as_str(), path) {
        ("GET" | "HEAD", "/api/public/health") => Answer::json(200, "{\"status\":\"OK\",\"version\":\"4.16.0\"}"),
        ("POST", "/api/public/otel/v1/traces") if state.read().generation.has_otlp() => {
            return traces(request, state, options, behaviour);
        }
        ("POST", "/api/public/ingestion") => return ingestion::answer(request, state, options, behaviour),
        _ => Answer::json(404, "{\"message\":\"Not found\"}"),
    };
    record(request, Some(answer.status), 0, state);
    answer
}

fn traces(request: &Request, state: &Watched<State>, options: &StandInOptions, behaviour: &Behaviour) -> Answer {
    let accepted = auth::check(request.header("authorization"), options).and_then(|()| otlp::decode(request, options));
    let mut batch = match accepted {
        Ok(batch) => batch,
        Err(refusal) => {
            record(request, Some(refusal.status), 0, state);
            return refusal.into();
        }
    };
    let partial = match behaviour {
        Behaviour::PartialSuccess { rejected, format } if batch.span_count() > 0 => {
            Some(partial_success(batch.drop_last(*rejected), *format))
        }
        _ => None,
    };
    let count = batch.span_count();
    // One change for all: whoever waits for spans also finds the request that brought them.
    state.change(|state| {
        state.requests.push(RequestRecord::new(request, Some(200), count));
        state.store(batch);
    });
    partial.unwrap_or_else(|| match count {
        0 => Answer::json(200, "{}"),
        _ => {
            Answer::json(200, "{\"name\":\"otel-ingestion-job\",\"data\":{\"timestamp\":\"2026-11-22T00:00:00.000Z\"}}")
        }
    })
}

fn partial_success(rejected: usize, format: AnswerFormat) -> Answer {
    let rejected_spans = i64::try_from(rejected).unwrap_or(i64::MAX);
    match format {
        // 64-bit integers are strings in OTLP/JSON.
        AnswerFormat::Json => {
            let partial = serde_json::json!({"rejectedSpans": rejected.to_string(), "errorMessage": "scripted"});
            Answer::json(200, serde_json::json!({"partialSuccess": partial}).to_string())
        }
        AnswerFormat::Protobuf => {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: "scripted".into() };
            let message = ExportTraceServiceResponse { partial_success: Some(partial) };
            Answer::new(200, "application/x-protobuf", message.encode_to_vec())
        }
    }
}

fn record(request: &Request, status: Option<u16>, spans: usize, state: &Watched<State>) {
    state.change(|state| state.requests.push(RequestRecord::new(request, status, spans)));
}
