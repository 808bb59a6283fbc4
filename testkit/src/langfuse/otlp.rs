//! `POST /api/public/otel/v1/traces`: what Langfuse refuses, and the decoding of what it takes.

use super::StandInOptions;
use super::auth::Refusal;
use super::server::Request;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::Value;
use std::io::Read;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The filter, or another exporter that is no SDK of Langfuse.
    Exporter,
    /// An application with an SDK of Langfuse.
    Sdk,
}

impl Sender {
    /// Only SDKs send the public key in a header of its own.
    fn of(request: &Request, options: &StandInOptions) -> Self {
        let named = matches!(request.header("x-langfuse-sdk-name"), Some("python" | "javascript"));
        let has_key = request.header("x-langfuse-public-key") == Some(&options.public_key);
        if options.with_applications && named && has_key { Self::Sdk } else { Self::Exporter }
    }
}

/// A batch that Langfuse would have accepted.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) resource_spans: Vec<ResourceSpans>,
    pub(super) sender: Sender,
    /// Rules broken by the request as a whole.
    pub(super) violations: Vec<String>,
}

impl Batch {
    pub(super) fn span_count(&self) -> usize {
        spans(&self.resource_spans).count()
    }

    /// Takes the last spans away, as many as there are up to `most`: how many.
    pub(super) fn drop_last(&mut self, most: usize) -> usize {
        let scopes = self.resource_spans.iter_mut().rev().flat_map(|resource| resource.scope_spans.iter_mut().rev());
        let mut left = most;
        for scope in scopes {
            let keep = scope.spans.len().saturating_sub(left);
            left -= scope.spans.len() - keep;
            scope.spans.truncate(keep);
        }
        most - left
    }
}

/// Decodes and checks a request in the order in which Langfuse does; authentication came before.
pub(super) fn decode(request: &Request, options: &StandInOptions) -> Result<Batch, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default();
    let is_protobuf = content_type.contains("application/x-protobuf");
    if !is_protobuf && !content_type.contains("application/json") {
        return Err(bad("Invalid content type"));
    }
    check_version(request.header("x-langfuse-ingestion-version"))?;
    let body = inflate(request)?;
    let (message, mut violations) = match is_protobuf {
        true => (
            ExportTraceServiceRequest::decode(body.as_slice())
                .map_err(|_| bad("Failed to parse OTel Protobuf Trace"))?,
            vec![],
        ),
        false => decode_json(&body)?,
    };
    if spans(&message.resource_spans).any(|span| span.trace_id.len() != 16 || span.span_id.len() != 8) {
        return Err(bad("Invalid OTel span: missing traceId or spanId"));
    }
    let sender = Sender::of(request, options);
    violations.extend(header_violations(request, sender));
    Ok(Batch { resource_spans: message.resource_spans, sender, violations })
}

fn check_version(version: Option<&str>) -> Result<(), Refusal> {
    let Some(version) = version else { return Ok(()) };
    match version.trim().parse::<f64>() {
        Ok(number) if number <= 4.0 => Ok(()),
        _ => Err(bad("Unsupported x-langfuse-ingestion-version")),
    }
}

fn inflate(request: &Request) -> Result<Vec<u8>, Refusal> {
    match request.header("content-encoding") {
        Some(coding) if coding.contains("gzip") => {
            let mut body = Vec::new();
            let read = GzDecoder::new(request.body.as_slice()).read_to_end(&mut body);
            read.map(|_| body).map_err(|_| bad("Failed to decompress gzip body"))
        }
        // Langfuse does not look at other codings and fails to parse what they hide.
        Some(coding) if !coding.is_empty() && coding != "identity" => Err(bad("Failed to parse OTel Trace")),
        _ => Ok(request.body.clone()),
    }
}

fn decode_json(body: &[u8]) -> Result<(ExportTraceServiceRequest, Vec<String>), Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|_| bad("Failed to parse OTel JSON Trace"))?;
    if value.get("resourceSpans").is_none() {
        return Ok(Default::default());
    }
    let violations = number_times(&value);
    let message =
        serde_json::from_value(value).map_err(|error| bad(&format!("Failed to parse OTel JSON Trace: {error}")))?;
    Ok((message, violations))
}

/// JSON numbers are doubles for Langfuse: nanoseconds since 1970 lose their last digits, so milliseconds are off.
fn number_times(value: &Value) -> Vec<String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let scopes = list(value, "resourceSpans").into_iter().flat_map(|resource| list(&resource, "scopeSpans"));
    let spans = scopes.flat_map(|scope| list(&scope, "spans"));
    let wrong = spans.filter(|span| span["startTimeUnixNano"].is_number() || span["endTimeUnixNano"].is_number());
    wrong.map(|span| format!("span {}: times are JSON numbers, not strings", span["name"])).collect()
}

fn header_violations(request: &Request, sender: Sender) -> Vec<String> {
    let mut violations = Vec::new();
    match request.header("x-langfuse-sdk-name") {
        None | Some("") => violations.push("request: no x-langfuse-sdk-name".to_owned()),
        Some(name @ ("python" | "javascript")) if sender != Sender::Sdk => {
            violations.push(format!("request: x-langfuse-sdk-name {name} impersonates an SDK of Langfuse"));
        }
        Some(_) => {}
    }
    for name in ["x-langfuse-ingestion-version", "x-langfuse-sdk-version"] {
        if request.header(name).is_none_or(str::is_empty) {
            violations.push(format!("request: no {name}"));
        }
    }
    violations
}

fn spans(resource_spans: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

fn bad(error: &str) -> Refusal {
    Refusal::new(400, "error", error)
}
