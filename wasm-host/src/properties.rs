//! `proxy_get_property`: hosts.md section 7 for WasmX, section 10 for Envoy.

use crate::headers::find;
use crate::personality::{Kong, WasmX};
use crate::phase::Phase;
use crate::state::{State, Stream, Subject};

/// What a host says of a property.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// Its value.
    Is(Vec<u8>),
    /// None.
    Missing,
    /// None, and the host writes a line about it each time.
    MissingLoudly,
    /// There is no request to ask: WasmX, a dotted path in a root context.
    NoRequest,
    /// The worker crashes.
    Crash,
}

/// Looks `path` up (its parts joined by dots).
pub(crate) fn get(state: &State, path: &str) -> Property {
    match state.wasmx() {
        Some(wasmx) => wasmx_property(state, wasmx, path),
        None => envoy_property(state, path).map_or(Property::Missing, Property::Is),
    }
}

fn text(text: impl ToString) -> Property {
    Property::Is(text.to_string().into_bytes())
}

fn wasmx_property(state: &State, wasmx: &WasmX, path: &str) -> Property {
    match path {
        "plugin_name" if state.place.phase == Phase::Configure => return Property::Crash,
        "plugin_name" => return text(&wasmx.filter_name),
        "plugin_root_id" => return text(0),
        "route_name" | "cluster_name" | "node" | "plugin_vm_id" | "response.flags" => return Property::MissingLoudly,
        _ => {}
    }
    let Some(stream) = state.stream() else {
        return if path.contains('.') { Property::NoRequest } else { Property::Missing };
    };
    if path.starts_with("kong.") && wasmx.kong.is_none_or(|kong| kong < Kong::V3_6) {
        return Property::Missing;
    }
    if is_of_kongs_request(path) && matches!(state.place.phase, Phase::Log | Phase::Done) {
        return Property::Missing;
    }
    if let Some(value) = state.properties.get(path) {
        return Property::Is(value.clone());
    }
    match path.split_once('.') {
        Some(("ngx", "kong_proxy_mode")) => wasmx.kong.map_or(Property::Missing, |_| text("http")),
        Some(("ngx", variable)) => nginx_variable(state, stream, variable).map_or(Property::Missing, text),
        Some(("kong", "version")) => wasmx.kong.map_or(Property::Missing, |kong| text(kong.number())),
        _ => common(state, stream, path).map_or(Property::Missing, Property::Is),
    }
}

/// Kong looks these up in its table of the request, which it gives back in its own log phase, before the filter's
/// (kong/runloop/wasm.lua and `Kong.log`; read, not measured).
fn is_of_kongs_request(path: &str) -> bool {
    ["kong.route_", "kong.service_", "kong.router.", "kong.ctx."].iter().any(|start| path.starts_with(start))
}

/// Variables of nginx. (`$request_id` is strong randomness there: a test that needs two workers to differ sets it.)
fn nginx_variable(state: &State, stream: &Stream, variable: &str) -> Option<String> {
    let ms = state.now_ns / 1_000_000;
    let value = match variable {
        "pid" => "4711".to_owned(),
        "msec" => format!("{}.{:03}", ms / 1000, ms % 1000),
        "request_id" => format!("{:032x}", u128::from(stream.owner.context) << 64 | u128::from(stream.since_ns)),
        "connection" => (1000 + stream.owner.context).to_string(),
        "connection_requests" => "1".to_owned(),
        "request_uri" => stream.request.path.clone(),
        "status" => stream.response.as_ref().map_or(499, |response| response.status).to_string(),
        "host" => stream.request.authority.clone(),
        "request_method" => stream.request.method.clone(),
        "upstream_connect_time" => stream.response.as_ref().map(|_| "0.001".to_owned())?,
        "upstream_header_time" | "upstream_response_time" => {
            stream.response.as_ref()?;
            seconds(state.now_ns.saturating_sub(stream.since_ns))
        }
        _ => return None,
    };
    Some(value)
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// Properties of a request that both hosts have; as strings (WasmX).
fn common(state: &State, stream: &Stream, path: &str) -> Option<Vec<u8>> {
    let request = &stream.request;
    if let Some(name) = path.strip_prefix("request.headers.") {
        return find(&request.headers, name).map(<[u8]>::to_vec);
    }
    if let Some(name) = path.strip_prefix("response.headers.") {
        return find(&stream.response.as_ref()?.headers, name).map(<[u8]>::to_vec);
    }
    let header = |name: &str| find(&request.headers, name).map(|value| String::from_utf8_lossy(value).into_owned());
    let value = match path {
        "request.path" => request.path.clone(),
        "request.url_path" => request.path.split('?').next().unwrap_or_default().to_owned(),
        "request.query" => request.path.split_once('?')?.1.to_owned(),
        "request.method" => request.method.clone(),
        "request.scheme" => "http".to_owned(),
        "request.protocol" => "HTTP/1.1".to_owned(),
        // The machine's name, not the Host header.
        "request.host" => "gateway-7f9c".to_owned(),
        "request.useragent" => header("user-agent")?,
        "request.referer" => header("referer")?,
        "request.id" => header("x-request-id")?,
        "request.time" => seconds(stream.since_ns),
        "request.duration" => seconds(state.now_ns.saturating_sub(stream.since_ns)),
        "request.size" | "request.total_size" => request.whole_body().len().to_string(),
        "response.code" => stream.response.as_ref()?.status.to_string(),
        "response.size" | "response.total_size" => stream.received.to_string(),
        "upstream.address" => "192.0.2.7".to_owned(),
        "upstream.port" => "8080".to_owned(),
        "source.address" => "198.51.100.9".to_owned(),
        "source.port" => "50123".to_owned(),
        "connection.id" => (1000 + stream.owner.context).to_string(),
        _ => return None,
    };
    Some(value.into_bytes())
}

/// Envoy's: numbers are 8 bytes, addresses have their port.
fn envoy_property(state: &State, path: &str) -> Option<Vec<u8>> {
    match path {
        "plugin_name" => return Some(state.roots.get(state.root_index()?)?.name.clone().into_bytes()),
        "plugin_root_id" | "plugin_vm_id" => return Some(Vec::new()),
        "xds.route_name" => return Some(b"default".to_vec()),
        "xds.cluster_name" => return Some(b"upstream".to_vec()),
        "route_name" | "cluster_name" | "node.id" => return None,
        _ if path.starts_with("ngx.") || path.starts_with("kong.") => return None,
        _ => {}
    }
    if let Some(value) = state.properties.get(path) {
        return Some(value.clone());
    }
    let stream = state.stream()?;
    let number = |number: u64| Some(number.to_le_bytes().to_vec());
    match path {
        "response.code" => number(u64::from(stream.response.as_ref()?.status)),
        "response.code_details" => Some(stream.details.as_bytes().to_vec()),
        "request.size" | "request.total_size" => number(stream.request.whole_body().len() as u64),
        "response.size" | "response.total_size" => number(stream.received as u64),
        "request.time" => number(stream.since_ns),
        "request.duration" => number(state.now_ns.saturating_sub(stream.since_ns)),
        "connection.id" => number(u64::from(stream.owner.context)),
        "request.host" => Some(stream.request.authority.clone().into_bytes()),
        "source.address" => Some(b"198.51.100.9:50123".to_vec()),
        "upstream.address" => Some(b"192.0.2.7:8080".to_vec()),
        "upstream.port" | "source.port" => None,
        _ => common(state, stream, path),
    }
}

/// WasmX: a property may not be set in a root context.
pub(crate) fn may_set(state: &State) -> bool {
    state.wasmx().is_none() || matches!(state.place.subject, Some(Subject::Stream(_)))
}
