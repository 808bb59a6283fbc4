//! One observation as an OTLP span (opentelemetry/proto/trace/v1/trace.proto, message `Span`).

use super::protobuf::{begin, bytes, double, field_len, fixed64, number, varint_len};
use crate::export::iso;
use crate::trace::{Level, MetadataValue, Observation};

/// `SPAN_KIND_CLIENT`: the gateway calls the provider.
const KIND_CLIENT: u64 = 3;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u64 = 2;

/// Encodes the span, without the tag and length under which a batch holds it.
#[must_use]
pub fn encode_span(observation: &Observation<'_>) -> Vec<u8> {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let mut out = Vec::with_capacity(2048 + text(&observation.input) + text(&observation.output));
    bytes(&mut out, 1, &observation.trace_id.0);
    bytes(&mut out, 2, &observation.span_id.0);
    if !observation.trace_state.is_empty() {
        bytes(&mut out, 3, observation.trace_state.as_bytes());
    }
    if let Some(parent) = observation.parent {
        bytes(&mut out, 4, &parent.0);
    }
    bytes(&mut out, 5, observation.name.as_bytes());
    number(&mut out, 6, KIND_CLIENT);
    fixed64(&mut out, 7, observation.times.start);
    fixed64(&mut out, 8, observation.times.end.max(observation.times.start));
    observation_attributes(&mut out, observation);
    trace_attributes(&mut out, observation);
    for (key, value) in &observation.trace_metadata {
        metadata(&mut out, "langfuse.trace.metadata.", key, value);
    }
    for (key, value) in &observation.metadata {
        metadata(&mut out, "langfuse.observation.metadata.", key, value);
    }
    status(&mut out, observation);
    out
}

fn observation_attributes(out: &mut Vec<u8>, observation: &Observation<'_>) {
    attribute(out, "langfuse.observation.type", observation.kind);
    let first_content = observation.times.first_content.map(iso);
    // Of an error, the span's status says both.
    let level = Some(observation.verdict.level).filter(|level| *level == Level::Warning).map(Level::name);
    let message = observation.verdict.message.as_deref().filter(|_| !observation.is_error());
    let optional = [
        ("langfuse.observation.model.name", observation.model),
        ("langfuse.observation.model.parameters", observation.parameters.as_deref()),
        ("langfuse.observation.input", observation.input.as_deref()),
        ("langfuse.observation.output", observation.output.as_deref()),
        ("langfuse.observation.usage_details", observation.usage_details.as_deref()),
        ("langfuse.observation.cost_details", observation.cost_details.as_deref()),
        ("langfuse.observation.completion_start_time", first_content.as_deref()),
        ("langfuse.observation.level", level),
        ("langfuse.observation.status_message", message),
    ];
    optional.into_iter().for_each(|(key, value)| value.into_iter().for_each(|value| attribute(out, key, value)));
    // Langfuse links prompts to generations alone.
    if let Some((name, version)) = observation.prompt.filter(|_| observation.kind == "generation") {
        attribute(out, "langfuse.observation.prompt.name", name);
        metadata(out, "langfuse.observation.prompt.", "version", &MetadataValue::Int(version));
    }
}

fn trace_attributes(out: &mut Vec<u8>, observation: &Observation<'_>) {
    attribute(out, "langfuse.environment", observation.environment);
    let optional = [
        ("langfuse.trace.name", observation.trace_name.as_deref()),
        ("user.id", observation.user),
        ("session.id", observation.session),
        ("langfuse.release", observation.release),
        ("langfuse.version", observation.version),
    ];
    optional.into_iter().for_each(|(key, value)| value.into_iter().for_each(|value| attribute(out, key, value)));
    for (key, is_so) in [("is_app_root", observation.is_app_root), ("as_root", observation.is_trace_root)] {
        if is_so {
            metadata(out, "langfuse.internal.", key, &MetadataValue::Bool(true));
        }
    }
    if !observation.tags.is_empty() {
        tags(out, &observation.tags);
    }
}

/// `KeyValue` (field 9 of a span) with a string `AnyValue`.
fn attribute(out: &mut Vec<u8>, key: &str, value: &str) {
    begin_attribute(out, ["", key], field_len(value.len()));
    bytes(out, 1, value.as_bytes());
}

fn begin_attribute(out: &mut Vec<u8>, key: [&str; 2], any_value_len: usize) {
    let key_len = key.iter().map(|part| part.len()).sum();
    begin(out, 9, field_len(key_len) + field_len(any_value_len));
    begin(out, 1, key_len);
    key.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    begin(out, 2, any_value_len);
}

fn metadata(out: &mut Vec<u8>, prefix: &str, key: &str, value: &MetadataValue<'_>) {
    let key = [prefix, key];
    match value {
        MetadataValue::Text(text) => {
            begin_attribute(out, key, field_len(text.len()));
            bytes(out, 1, text.as_bytes());
        }
        MetadataValue::Bool(flag) => {
            begin_attribute(out, key, 2);
            number(out, 2, u64::from(*flag));
        }
        MetadataValue::Int(value) => {
            let value = value.cast_unsigned();
            begin_attribute(out, key, 1 + int_len(value));
            number(out, 3, value);
        }
        MetadataValue::Float(value) => {
            begin_attribute(out, key, 9);
            double(out, 4, *value);
        }
    }
}

/// Length of a varint of 64 bits, on a machine of 32 as well.
fn int_len(value: u64) -> usize {
    match usize::try_from(value) {
        Ok(value) => varint_len(value),
        Err(_) => usize::try_from((u64::BITS - value.leading_zeros()).div_ceil(7)).unwrap_or(10),
    }
}

/// `langfuse.trace.tags`: an `ArrayValue` (field 5 of `AnyValue`) of strings.
fn tags(out: &mut Vec<u8>, tags: &[&str]) {
    let values: usize = tags.iter().map(|tag| field_len(field_len(tag.len()))).sum();
    begin_attribute(out, ["", "langfuse.trace.tags"], field_len(values));
    begin(out, 5, values);
    for tag in tags {
        begin(out, 1, field_len(tag.len()));
        bytes(out, 1, tag.as_bytes());
    }
}

/// `Status` (field 15): message 2, code 3. Langfuse reads level and status message from it.
fn status(out: &mut Vec<u8>, observation: &Observation<'_>) {
    if !observation.is_error() {
        return;
    }
    let message = observation.verdict.message.as_deref().unwrap_or_default();
    begin(out, 15, field_len(message.len()) + 2);
    bytes(out, 2, message.as_bytes());
    number(out, 3, STATUS_ERROR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_64_bits_have_the_length_that_is_written() {
        for value in [0_u64, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, 3, value);
            assert_eq!(out.len(), 1 + int_len(value), "{value}");
        }
    }
}
