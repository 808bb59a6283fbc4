//! `POST /api/public/ingestion`: the legacy batch. Langfuse v4 answers 207 and refuses every trace in it;
//! before OTLP it was the way in.

use super::auth::{self, Refusal};
use super::server::{Answer, Request};
use super::state::State;
use super::{Generation, StandInOptions};
use crate::waiting::Watched;
use serde_json::{Value, json};

/// Next.js cuts here (`Body exceeded 4.5mb limit`).
const MAX_BODY: usize = 4_500_000;
const TYPES: &[&str] = &[
    "trace-create",
    "score-create",
    "event-create",
    "span-create",
    "span-update",
    "generation-create",
    "generation-update",
    "agent-create",
    "tool-create",
    "chain-create",
    "retriever-create",
    "evaluator-create",
    "embedding-create",
    "guardrail-create",
    "sdk-log",
];

/// Answers a batch event by event.
pub(super) fn answer(request: &Request, state: &Watched<State>, options: &StandInOptions) -> Result<Answer, Refusal> {
    auth::check(request.header("authorization"), options)?;
    if request.body.len() > MAX_BODY {
        return Err(Refusal { status: 413, body: "Body exceeded 4.5mb limit".into() });
    }
    let invalid = || Refusal::new(400, "message", "Invalid request data");
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|_| Refusal::new(400, "message", "Invalid JSON"))?;
    let batch = body["batch"].as_array().ok_or_else(invalid)?;
    let (mut successes, mut errors) = (Vec::new(), Vec::new());
    for event in batch {
        match check(event, options.generation) {
            Ok(()) => {
                successes.push(json!({"id": event["id"], "status": 201}));
                state.change(|state| state.ingested.push(event.clone()));
            }
            Err((message, error)) => {
                errors.push(json!({"id": event["id"], "status": 400, "message": message, "error": error}));
            }
        }
    }
    Ok(Answer::json(207, json!({"successes": successes, "errors": errors}).to_string()))
}

fn check(event: &Value, generation: Generation) -> Result<(), (&'static str, String)> {
    let invalid = |error: &str| Err(("Invalid request data", error.to_owned()));
    let kind = event["type"].as_str().unwrap_or_default();
    if !TYPES.contains(&kind) {
        return invalid("type");
    }
    if generation == Generation::V4 && !matches!(kind, "score-create" | "sdk-log") {
        let mode = "is not accepted by /api/public/ingestion when LANGFUSE_MIGRATION_V4_WRITE_MODE is events_only";
        return Err(("Event type not accepted", format!("Event type \"{kind}\" {mode}")));
    }
    if !event["id"].as_str().is_some_and(|id| (1..=800).contains(&id.len())) {
        return invalid("id");
    }
    if event["timestamp"].as_str().is_none_or(|time| time.parse::<jiff::Timestamp>().is_err()) {
        return invalid("timestamp");
    }
    let body = &event["body"];
    let level = body["level"].as_str().is_none_or(|level| matches!(level, "DEBUG" | "DEFAULT" | "WARNING" | "ERROR"));
    let id = kind == "sdk-log" || body["id"].as_str().is_some_and(|id| !id.is_empty());
    if body.is_object() && level && id { Ok(()) } else { invalid("body") }
}
