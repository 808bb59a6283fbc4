//! `POST /api/public/ingestion`: the legacy batch. Langfuse v4 answers 207 and refuses every trace in it;
//! before OTLP it was the way in. <https://api.reference.langfuse.com/#tag/ingestion>

mod schema;
mod store;
mod view;

pub(super) use store::Legacy;

use super::auth::{self, Refusal};
use super::server::{Answer, Request};
use super::state::{RequestRecord, State};
use super::{Behaviour, Generation, Span, StandInOptions};
use crate::waiting::Watched;
use serde_json::{Value, json};

/// Next.js cuts here (`Body exceeded 4.5mb limit`).
const MAX_BODY: usize = 4_500_000;

/// Types that a server before OTLP knows.
const TYPES: &[&str] = &[
    "trace-create",
    "score-create",
    "event-create",
    "span-create",
    "span-update",
    "generation-create",
    "generation-update",
    "sdk-log",
];
/// Types that came in August 2025.
const NEW_TYPES: &[&str] = &[
    "agent-create",
    "tool-create",
    "chain-create",
    "retriever-create",
    "evaluator-create",
    "embedding-create",
    "guardrail-create",
];

/// Why an event is not taken: its own status, `message` and `error`.
#[derive(Debug)]
struct ItemError {
    status: u16,
    message: &'static str,
    error: String,
}

impl ItemError {
    fn invalid(error: impl Into<String>) -> Self {
        Self { status: 400, message: "Invalid request data", error: error.into() }
    }
}

/// Answers a batch event by event, storing what is taken.
pub(super) fn answer(
    request: &Request,
    state: &Watched<State>,
    options: &StandInOptions,
    behaviour: &Behaviour,
) -> Answer {
    let (events, allowed) = match authorize(request, options).and_then(|allowed| Ok((batch(request)?, allowed))) {
        Ok(batch) => batch,
        Err(refusal) => {
            let record = RequestRecord::new(request, Some(refusal.status), 0);
            state.change(|state| state.requests.push(record));
            return refusal.into();
        }
    };
    // One change for all: whoever waits for spans also finds the request that brought them.
    state.change(|state| {
        let place = state.requests.len();
        state.requests.push(RequestRecord::new(request, Some(207), 0));
        let (reply, observations) = take(state, &events, allowed, behaviour);
        state.requests[place].spans = observations;
        Answer::json(207, reply.to_string())
    })
}

/// Decodes a batch without a server: its observations as spans, and the rules that they break. An event that is
/// refused, or an observation whose trace is missing, is an error.
pub(super) fn read(body: &[u8], generation: Generation) -> Result<(Vec<Span>, Vec<String>), String> {
    let mut state = State::default();
    state.generation = generation;
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let events = body["batch"].as_array().ok_or("no batch")?;
    let (reply, observations) = take(&mut state, events, true, &Behaviour::Normal);
    match reply["errors"].as_array().is_some_and(Vec::is_empty) && observations == state.spans.len() {
        true => Ok((state.spans, state.violations)),
        false => Err(format!("{} of {observations} observations have a trace; {}", state.spans.len(), reply["errors"])),
    }
}

/// A public key as bearer is known, and may not write traces: each event says so.
fn authorize(request: &Request, options: &StandInOptions) -> Result<bool, Refusal> {
    let header = request.header("authorization");
    match header.and_then(|header| header.strip_prefix("Bearer ")) {
        Some(key) if key == options.public_key => Ok(false),
        Some(_) => Err(Refusal::new(401, "message", "Invalid public key")),
        None => auth::check(header, options).map(|()| true),
    }
}

fn batch(request: &Request) -> Result<Vec<Value>, Refusal> {
    let bad = |text: &str| Refusal::new(400, "message", text);
    if request.body.len() > MAX_BODY {
        return Err(Refusal { status: 413, body: "Body exceeded 4.5mb limit".into() });
    }
    // No coding is undone, and only JSON is parsed.
    let is_plain = request.header("content-encoding").is_none_or(|coding| coding == "identity");
    let is_json = request.header("content-type").is_some_and(|kind| kind.contains("application/json"));
    if !is_plain || !is_json {
        return Err(bad("Invalid JSON"));
    }
    let mut body: Value = serde_json::from_slice(&request.body).map_err(|_| bad("Invalid JSON"))?;
    match body["batch"].take() {
        Value::Array(events) => Ok(events),
        _ => Err(bad("Invalid request data")),
    }
}

/// Takes the events one by one: the answer's body, and how many observations were taken.
fn take(state: &mut State, events: &[Value], allowed: bool, behaviour: &Behaviour) -> (Value, usize) {
    let (mut successes, mut errors, mut observations) = (Vec::new(), Vec::new(), 0);
    for event in events {
        let checked = match allowed {
            true => check(event, state.generation).and_then(|()| state.legacy.scripted_error(event, behaviour)),
            false => {
                Err(ItemError { status: 401, message: "Authentication error", error: "Access Scope Denied".into() })
            }
        };
        let id = event["id"].as_str().unwrap_or("unknown");
        match checked {
            Ok(()) => {
                if event["type"] != "sdk-log" {
                    successes.push(json!({"id": id, "status": 201}));
                }
                observations += usize::from(schema::is_observation(event));
                store::store(state, event);
            }
            Err(ItemError { status, message, error }) => {
                errors.push(json!({"id": id, "status": status, "message": message, "error": error}));
            }
        }
    }
    (json!({"successes": successes, "errors": errors}), observations)
}

fn check(event: &Value, generation: Generation) -> Result<(), ItemError> {
    let kind = event["type"].as_str().unwrap_or_default();
    let is_known = TYPES.contains(&kind) || (generation.knows_new_types() && NEW_TYPES.contains(&kind));
    if !is_known {
        // The words of zod 3 and zod 4 have the discriminator in common.
        return Err(ItemError::invalid(r#"[{"code":"invalid_union_discriminator","path":["type"]}]"#));
    }
    schema::check(kind, event).map_err(ItemError::invalid)?;
    if !generation.takes_legacy_traces() && !matches!(kind, "score-create" | "sdk-log") {
        let mode = "is not accepted by /api/public/ingestion when LANGFUSE_MIGRATION_V4_WRITE_MODE is events_only";
        let error = format!("Event type \"{kind}\" {mode}");
        return Err(ItemError { status: 400, message: "Event type not accepted", error });
    }
    Ok(())
}
