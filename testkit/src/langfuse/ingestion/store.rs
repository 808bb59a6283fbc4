//! What the ingestion endpoint keeps: events by id, traces, and observations that wait for theirs.

use super::super::behaviour::Behaviour;
use super::super::otlp::Sender;
use super::super::rules;
use super::super::state::State;
use super::{ItemError, schema, view};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What has come by the legacy endpoint.
#[derive(Debug, Default)]
pub(in super::super) struct Legacy {
    /// Accepted events by id, as they came first.
    events: HashMap<String, Value>,
    /// The last body of each trace by its id.
    traces: HashMap<String, Value>,
    /// Observations whose trace has not come: nobody finds them in Langfuse.
    waiting: Vec<Value>,
    /// Events that a script has looked at.
    looked_at: usize,
    refused_once: HashSet<String>,
}

impl Legacy {
    /// The error that [`Behaviour::ItemErrors`] has for this event.
    pub(super) fn scripted_error(&mut self, event: &Value, behaviour: &Behaviour) -> Result<(), ItemError> {
        let Behaviour::ItemErrors { every, status } = behaviour else { return Ok(()) };
        self.looked_at += 1;
        let id = event["id"].as_str().unwrap_or_default();
        let spared = !self.looked_at.is_multiple_of(*every) || !self.refused_once.insert(id.to_owned());
        match spared {
            true => Ok(()),
            false => Err(ItemError { status: *status, message: "scripted", error: "scripted".into() }),
        }
    }

    /// Observations that wait for their trace.
    pub(in super::super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Stores an event that was accepted. The same event again changes nothing: the server keeps one under an id.
pub(super) fn store(state: &mut State, event: &Value) {
    let id = event["id"].as_str().unwrap_or_default().to_owned();
    state.ingested.push(event.clone());
    if let Some(earlier) = state.legacy.events.get(&id) {
        if earlier == event {
            state.duplicates += usize::from(schema::is_observation(event));
        } else {
            state.violations.push(format!("event {id:?}: the same id came again with other content"));
        }
        return;
    }
    let unknown = schema::unknown_fields(event);
    state.violations.extend(unknown.iter().map(|name| format!("event {id:?}: the field {name:?} is unknown")));
    state.legacy.events.insert(id, event.clone());
    if event["type"] == "trace-create" {
        let trace = event["body"]["id"].as_str().unwrap_or_default().to_owned();
        state.legacy.traces.insert(trace, event["body"].clone());
    } else if schema::is_observation(event) {
        state.legacy.waiting.push(event.clone());
    }
    show(state);
}

/// Makes spans of the observations that can be found: in a trace that is known, or under a parent.
fn show(state: &mut State) {
    for event in std::mem::take(&mut state.legacy.waiting) {
        let body = &event["body"];
        let trace = state.legacy.traces.get(body["traceId"].as_str().unwrap_or_default());
        if trace.is_none() && body["parentObservationId"].is_null() {
            state.legacy.waiting.push(event);
            continue;
        }
        let span = view::span(trace, &event, state.generation);
        if !state.delivered_by_ingestion(&span) {
            state.violations.push(format!("span {:?}: the same span id came again by ingestion", span.name));
        }
        state.violations.extend(rules::violations(&span, Sender::Exporter, &state.forbidden));
        state.spans.push(span);
    }
}
