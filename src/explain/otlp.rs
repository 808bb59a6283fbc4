//! The OTLP request that would be sent, decoded again with the message definitions of OpenTelemetry
//! (<https://github.com/open-telemetry/opentelemetry-proto>), so that what is shown is what the bytes say.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::{DecodeError, Message};

use super::exchange::Exchange;
use super::replay::Traced;
use crate::export::otlp::{Resource, encode_batch};

/// Metadata that states how long the call took.
const DURATIONS: [&str; 3] = ["total_duration_ms", "time_per_token_ms", "throughput_tokens_per_second"];
/// Where that stands: on the trace, or on the observation in an application's.
const SCOPES: [&str; 2] = ["langfuse.trace.metadata.", "langfuse.observation.metadata."];
const FIRST_CONTENT: &str = "langfuse.observation.completion_start_time";

/// The request for one call, as it goes out of Envoy, without what the file does not state: durations and the time of the
/// first content. Trace and span have ids that are always the same.
///
/// # Errors
/// The bytes are no such request: a bug of the filter.
pub fn sent(traced: &Traced, exchange: &Exchange) -> Result<ExportTraceServiceRequest, DecodeError> {
    let resource = Resource { service_name: "envoy" };
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
        name => {
            let key = SCOPES.iter().find_map(|scope| name.strip_prefix(scope));
            exchange.duration_ms.is_some() || key.is_none_or(|key| !DURATIONS.contains(&key))
        }
    }
}
