//! A finished call written down as an observation.

use std::borrow::Cow;
use std::rc::Rc;

use super::gateway::is_own_answer;
use super::{Call, End, Finished, Unread, input, parameters};
use crate::context::{Field, GATEWAY_PREFIX, Identity};
use crate::export::otlp::encode_span;
use crate::json::ObjectWriter;
use crate::measures::{CallResult, Sample};
use crate::provider::{self, Operation, UNITS, Usage};
use crate::trace::{Ending, Facts, Level, MetadataValue, Observation, Verdict};

type Metadata<'a> = Vec<(Cow<'a, str>, MetadataValue<'a>)>;
/// Facts, whose names are the filter's.
type Named<'a> = Vec<(&'static str, MetadataValue<'a>)>;

/// Encodes the span of `call`, and measures it.
pub(super) fn write(call: &Call, end: &End<'_>) -> Finished {
    observe(call, end, |observation, facts| Finished {
        span: encode_span(observation),
        project: call.project,
        settings: Rc::clone(&call.settings),
        sample: sample(call, facts, observation.verdict.level),
    })
}

/// Writes `call` down as an observation, and hands that on.
pub(super) fn observe<T>(call: &Call, end: &End<'_>, act: impl FnOnce(&Observation<'_>, &Facts) -> T) -> T {
    let (status, ending) = (call.response.status(), call.ending(end));
    let failed = status.is_none_or(|status| status >= 400) || ending != Ending::Complete;
    let by_gateway = status.is_some_and(|status| is_own_answer(status, end.details.unwrap_or_default()));
    // "via_upstream" says only that the answer is the upstream's, and of one that is whole nothing else does any more.
    let details = end.details.filter(|details| *details != "via_upstream" && (failed || by_gateway));
    let facts = Facts {
        status,
        ending,
        host_details: details.map(str::to_owned),
        by_gateway,
        stream: call.response.is_stream(),
        empty: call.response.is_empty(),
        answer: call.response.answer(),
    };
    let request_model = call.routing.model(&call.request);
    let model = facts.answer.model.as_deref().or(request_model.as_deref());
    let mut observation = observation(call, &facts, model, request_model.as_deref());
    observation.metadata.extend(end.gateway.iter().map(|(key, value)| (Cow::Borrowed(*key), value.clone())));
    act(&observation, &facts)
}

/// What a platform team alerts on.
fn sample(call: &Call, facts: &Facts, level: Level) -> Sample {
    let result = match (level, facts.ending) {
        (Level::Error, _) => CallResult::Error,
        (_, Ending::Complete) if !facts.answer.unfinished => CallResult::Ok,
        _ => CallResult::Aborted,
    };
    let ms = |until: u64| until.saturating_sub(call.times.start) / 1_000_000;
    let usage = facts.answer.usage.as_ref();
    Sample {
        provider: call.routing.label(),
        model: facts.answer.model.clone(),
        result,
        input_tokens: usage.and_then(Usage::input).unwrap_or_default(),
        output_tokens: usage.and_then(Usage::output).unwrap_or_default(),
        first_token_ms: call.times.first_content.filter(|_| facts.stream).map(ms),
        duration_ms: ms(call.times.end),
    }
}

fn observation<'a>(
    call: &'a Call,
    facts: &'a Facts,
    model: Option<&'a str>,
    request_model: Option<&'a str>,
) -> Observation<'a> {
    let verdict = Verdict::of(facts);
    let usage = facts.answer.usage.as_ref();
    let unpriced = verdict.level == Level::Error || !call.settings.estimate_usage || !is_estimable(call, facts);
    let (labels, context) = (&call.settings.labels, &call.context);
    let identity = call.identity.as_ref();
    let (api, document) = (call.routing.api(), call.request.document());
    let mut tags: Vec<&str> = Vec::new();
    for tag in labels.tags.iter().chain(&context.tags) {
        if !tags.contains(&tag.as_str()) {
            tags.push(tag);
        }
    }
    let (trace_metadata, metadata) = metadata(call, facts, model, request_model);
    Observation {
        trace_id: identity.map_or(call.trace_id, |identity| identity.trace),
        span_id: call.span_id,
        parent: identity.and_then(|identity| identity.parent),
        is_app_root: identity.is_some_and(|identity| identity.is_app_root),
        is_trace_root: identity.is_some_and(|identity| identity.is_trace_root),
        trace_state: identity.map_or("", |identity| &identity.state),
        kind: api.operation.kind(),
        name: context.field(Field::ObservationName).unwrap_or(api.observation()),
        trace_name: trace_name(call).map(Cow::Borrowed),
        times: call.times,
        model,
        parameters: parameters::parameters(document, api, call.routing.places(), &facts.answer.billed_at),
        input: input(call),
        output: output(call, facts),
        usage_details: usage.map(|usage| usage.buckets.to_json()),
        cost_details: cost(call, facts, model, unpriced),
        user: context.field(Field::User),
        session: context.field(Field::Session),
        tags,
        environment: environment(call),
        release: context.field(Field::Release).or(labels.release.as_deref()),
        version: context.field(Field::Version).or(labels.version.as_deref()),
        prompt: context.prompt(),
        trace_metadata,
        metadata,
        verdict,
    }
}

/// The name that the caller gives the trace, else the path; none where the trace is the application's.
fn trace_name(call: &Call) -> Option<&str> {
    let is_within = call.identity.as_ref().is_some_and(Identity::is_within);
    call.context.field(Field::TraceName).or(Some(call.path.as_str()).filter(|_| !is_within))
}

fn environment(call: &Call) -> &str {
    call.context.field(Field::Environment).unwrap_or(&call.settings.labels.environment)
}

fn input(call: &Call) -> Option<Cow<'_, str>> {
    let (document, limit) = (call.request.document(), call.settings.capture.input);
    match call.routing.places() {
        Some(places) => input::input_at(document, &places.input, limit),
        None => input::input(document, call.routing.api(), limit),
    }
}

/// What the call cost: as the provider says, else as the table of prices does; 0 where nothing was stated and Langfuse
/// must not count itself; none where that is Langfuse's to say.
fn cost(call: &Call, facts: &Facts, model: Option<&str>, unpriced: bool) -> Option<Cow<'static, str>> {
    if let Some(stated) = &facts.answer.cost {
        let mut object = ObjectWriter::default();
        object.raw("total", stated);
        return Some(Cow::Owned(object.finish()));
    }
    match &facts.answer.usage {
        Some(usage) => provider::cost(&call.settings.prices, model.unwrap_or_default(), usage).map(Cow::Owned),
        None => unpriced.then_some(Cow::Borrowed(r#"{"total":0}"#)),
    }
}

/// Langfuse may count tokens itself: there was an answer, and all that passed in both directions is in the trace. (Vectors,
/// images and audio are not, also those inside a chat; and to count tokens costs nothing.)
fn is_estimable(call: &Call, facts: &Facts) -> bool {
    let (request, response) = (&call.request, &call.response);
    let answered = facts.status.is_some_and(|status| (200..300).contains(&status) && status != 204);
    let whole_input = request.unread().is_none() && !request.is_cut() && !request.memory_short();
    let whole_output = response.unread().is_none() && !response.is_cut() && !response.memory_short();
    let decoded = !request.wire.is_undecoded() && !response.wire.is_undecoded();
    let operation = call.routing.api().operation;
    let all_text =
        !operation.answers_without_text() && !operation.is_of_speech() && operation != Operation::CountTokens;
    answered
        && !facts.empty
        && !facts.by_gateway
        && !request.has_media()
        && whole_input
        && whole_output
        && decoded
        && all_text
        && facts.answer.unread_messages == 0
}

/// What the answer said; a body that says nothing of the kind is shown as it is.
fn output<'a>(call: &'a Call, facts: &'a Facts) -> Option<Cow<'a, str>> {
    match &facts.answer.output {
        Some(output) => Some(Cow::Borrowed(output)),
        None => call.response.text().and_then(parameters::whole_text),
    }
}

/// Metadata of the trace, and of the observation. The trace has the facts, under the predecessor's names, and what the caller
/// said; but one that is the application's has only what the caller named as metadata, and the observation has the rest:
/// Langfuse v3 would put it over the application's own. A fact wins: a caller's key of the same name is kept as `caller_…`.
fn metadata<'a>(
    call: &'a Call,
    facts: &'a Facts,
    model: Option<&'a str>,
    request_model: Option<&str>,
) -> (Metadata<'a>, Metadata<'a>) {
    let is_within = call.identity.as_ref().is_some_and(Identity::is_within);
    let (mut of_trace, mut of_call) = (trace_facts(call, facts, model), Metadata::with_capacity(16));
    if is_within {
        std::mem::swap(&mut of_trace, &mut of_call);
    }
    for entry in &call.context.metadata {
        let key = entry.key.as_str();
        let key = if is_fact(key) { Cow::Owned(format!("caller_{key}")) } else { key.into() };
        if of_trace.iter().chain(&of_call).all(|(known, _)| *known != key) {
            let to = if is_within && !entry.is_named { &mut of_call } else { &mut of_trace };
            to.push((key, entry.text.as_str().into()));
        }
    }
    of_call.extend(observation_facts(call, facts, request_model));
    (of_trace, of_call)
}

/// Facts of the trace, under the predecessor's names.
fn trace_facts<'a>(call: &'a Call, facts: &'a Facts, model: Option<&'a str>) -> Metadata<'a> {
    let mut metadata: Metadata<'a> = vec![
        (Cow::Borrowed("provider"), call.routing.provider().into()),
        (Cow::Borrowed("environment"), environment(call).into()),
        (Cow::Borrowed("total_duration_ms"), MetadataValue::Float(call.times.duration_ms())),
    ];
    if let Some(status) = facts.status {
        metadata.push((Cow::Borrowed("status_code"), MetadataValue::Int(i64::from(status))));
    }
    if let Some(model) = model {
        metadata.push((Cow::Borrowed("model"), model.into()));
    }
    for (name, value) in speed(call, facts.answer.usage.as_ref()).into_iter().flatten() {
        metadata.push((Cow::Borrowed(name), MetadataValue::Float(value)));
    }
    let originals = call.identity.iter().flat_map(|identity| &identity.originals);
    metadata.extend(originals.map(|(key, id)| (Cow::Borrowed(*key), id.as_str().into())));
    metadata
}

/// Only the filter fills this name.
fn is_fact(key: &str) -> bool {
    FACTS.contains(&key)
        || key.starts_with(GATEWAY_PREFIX)
        || Some(key) == GATEWAY_PREFIX.strip_suffix('.')
        || UNITS.iter().any(|count| count.name() == key)
}

/// Names that only the filter fills.
const FACTS: [&str; 26] = [
    "provider",
    "environment",
    "total_duration_ms",
    "status_code",
    "model",
    "time_per_token_ms",
    "throughput_tokens_per_second",
    "usage_source",
    "finish_reason",
    "temperature",
    "max_tokens",
    "stream_complete",
    "request_id",
    "response_id",
    "request_model",
    "input_bytes",
    "input_note",
    "output_bytes",
    "output_note",
    "unread_messages",
    "usage_total_reported",
    "reasoning_tokens",
    "tool_use_tokens",
    "unattributed_tokens",
    "iterations",
    "host_details",
];

/// Milliseconds per output token, and output tokens per second; absent where the output tokens are unknown or 0.
#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn speed(call: &Call, usage: Option<&Usage>) -> [Option<(&'static str, f64)>; 2] {
    let duration = call.times.duration_ms();
    let Some(tokens) = usage.and_then(Usage::output).filter(|tokens| *tokens > 0) else { return [None, None] };
    let tokens = tokens as f64;
    let round = |number: f64| (number * 1000.0).round() / 1000.0;
    [
        Some(("time_per_token_ms", round(duration / tokens))),
        (duration > 0.0).then(|| ("throughput_tokens_per_second", round(tokens / (duration / 1000.0)))),
    ]
}

fn observation_facts<'a>(
    call: &'a Call,
    facts: &'a Facts,
    request_model: Option<&str>,
) -> impl Iterator<Item = (Cow<'a, str>, MetadataValue<'a>)> {
    let answer = &facts.answer;
    let mut metadata: Named<'a> = Vec::with_capacity(16);
    metadata.push(("usage_source", if answer.usage.is_some() { "provider" } else { "missing" }.into()));
    let texts = [
        ("finish_reason", answer.finish_reason.as_deref()),
        ("response_id", answer.id.as_deref()),
        ("request_id", call.request_id.as_deref()),
        ("host_details", facts.host_details.as_deref()),
    ];
    texts.into_iter().for_each(|(name, text)| metadata.extend(text.map(|text| (name, text.into()))));
    if let Some(asked) = request_model.filter(|asked| answer.model.as_deref().is_some_and(|model| model != *asked)) {
        metadata.push(("request_model", asked.to_owned().into()));
    }
    for name in ["temperature", "max_tokens"] {
        if let Some(number) = parameters::number(call.request.document(), name) {
            metadata.push((name, number));
        }
    }
    // Of one that was not read to its end, nothing can be said.
    if facts.stream && call.response.wire.wants_bytes() {
        let complete = facts.ending == Ending::Complete && !answer.unfinished;
        metadata.push(("stream_complete", MetadataValue::Bool(complete)));
    }
    if let Some(reported) = answer.usage.as_ref().and_then(Usage::odd_total) {
        metadata.push(("usage_total_reported", int(reported)));
    }
    for count in UNITS {
        let counted = answer.counts.get(count).filter(|counted| *counted > 0);
        metadata.extend(counted.map(|counted| (count.name(), int(counted))));
    }
    if answer.unread_messages > 0 {
        metadata.push(("unread_messages", MetadataValue::Int(i64::from(answer.unread_messages))));
    }
    metadata.extend(answer.usage.iter().flat_map(Usage::within).map(|(name, tokens)| (name, int(tokens))));
    metadata.extend(answer.iterations.as_deref().map(|list| ("iterations", list.into())));
    metadata.extend(call.context.facts.iter().map(|(name, value)| (*name, value.as_str().into())));
    add_gaps(call, &mut metadata);
    metadata.into_iter().map(|(name, value)| (Cow::Borrowed(name), value))
}

/// What is missing of input and output, and why: a gap is said, never hidden.
fn add_gaps(call: &Call, metadata: &mut Named<'_>) {
    let (request, response) = (&call.request, &call.response);
    let input = note(request.unread(), request.memory_short(), request.is_cut(), request.wire.encoding_note());
    let output = note(response.unread(), response.memory_short(), response.is_cut(), response.wire.encoding_note());
    for (note, size, names) in [
        (input, request.wire.size, ("input_note", "input_bytes")),
        (output, response.wire.size, ("output_note", "output_bytes")),
    ] {
        if let Some(note) = note {
            metadata.push((names.0, note.into()));
            metadata.push((names.1, size.into()));
        }
    }
}

fn note(unread: Option<Unread>, memory_short: bool, cut: bool, encoding: Option<String>) -> Option<String> {
    let gap = match unread {
        Some(Unread::TooLarge) => "a piece of it was larger than is read at once",
        Some(Unread::OnDisk) => "not available (buffered to disk)",
        Some(Unread::NotAvailable) => "not available (the gateway did not hand it over)",
        Some(Unread::BeyondScan) => "longer than is looked at (16 MiB)",
        None if memory_short => "not kept: memory_budget used up",
        None if cut => "cut at its limit",
        None => return encoding,
    };
    Some(encoding.map_or_else(|| gap.to_owned(), |encoding| format!("{gap}; {encoding}")))
}

fn int(number: u64) -> MetadataValue<'static> {
    MetadataValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
