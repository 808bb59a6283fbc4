//! The OTLP request that would be sent, decoded again with the message definitions of OpenTelemetry
//! (<https://github.com/open-telemetry/opentelemetry-proto>), so that what is shown is what the bytes say.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::{DecodeError, Message};

use super::exchange::Exchange;
use super::replay::Traced;
use crate::config::Settings;
use crate::export::otlp::{Resource, encode_batch};

/// Attributes that state how long the call took.
const DURATIONS: [&str; 3] = [
    "langfuse.trace.metadata.total_duration_ms",
    "langfuse.trace.metadata.time_per_token_ms",
    "langfuse.trace.metadata.throughput_tokens_per_second",
];
const FIRST_CONTENT: &str = "langfuse.observation.completion_start_time";

/// The request for one call, as it goes out of Envoy, without what the file does not state: durations and the time of the
/// first content. Trace and span have ids that are always the same.
///
/// # Errors
/// The bytes are no such request: a bug of the filter.
pub fn sent(
    traced: &Traced,
    exchange: &Exchange,
    settings: &Settings,
) -> Result<ExportTraceServiceRequest, DecodeError> {
    let resource = Resource { service_name: "envoy", environment: &settings.labels.environment };
    let batch = encode_batch(resource, std::slice::from_ref(&traced.span));
    let mut request = ExportTraceServiceRequest::decode(batch.as_slice())?;
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        span.attributes.retain(|attribute| is_known(&attribute.key, exchange));
    }
    Ok(request)
}

fn is_known(attribute: &str, exchange: &Exchange) -> bool {
    match attribute {
        FIRST_CONTENT => exchange.first_content_ms.is_some(),
        name if DURATIONS.contains(&name) => exchange.duration_ms.is_some(),
        _ => true,
    }
}
