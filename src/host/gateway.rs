//! What the gateway says of a call by its properties: whom it is for, and on WasmX how long its upstream took.
//!
//! Asking must be silent: WasmX writes an error line for a property that it does not know, except below `ngx.`, where
//! any variable of nginx may be asked for. So `kong.*` is asked for only where `ngx.kong_proxy_mode` tells that this is
//! Kong and `kong.version` that it has such properties (3.6 and later).
//! Properties: <https://developer.konghq.com/custom-plugins/wasm/>, variables: <https://nginx.org/en/docs/varindex.html>.

use std::cell::OnceCell;

use super::abi::NOT_FOUND;
use super::hostcalls::property;
use super::vm::HostKind;
use crate::call::{
    GatewayFact, GatewayIds, attempts_of_count, attempts_of_times, kong_has_metrics, response_flags, upstream_time,
};

/// What the gateway is, as far as it has been asked; one in a VM. Only what it answered is remembered.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// The gateway is Kong.
    is_kong: OnceCell<bool>,
    /// The gateway has `kong.*` properties.
    has_kong: OnceCell<bool>,
    /// Kong's node id, which does not change.
    node: OnceCell<String>,
    /// The gateway has metrics, and they harm nobody.
    has_metrics: OnceCell<bool>,
}

/// What nginx knows a request by; empty where it does not say.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    request: Vec<u8>,
    uri: Vec<u8>,
}

impl RequestIds {
    /// Asks nginx.
    pub(super) fn read() -> Self {
        let variable = |name| property(&["ngx", name]).unwrap_or_default();
        Self { request: variable("request_id"), uri: variable("request_uri") }
    }

    /// Path and query as the client sent them; `:path` is normalised there.
    pub(super) fn uri(&self) -> Option<&[u8]> {
        (!self.uri.is_empty()).then_some(&*self.uri)
    }

    /// The same, borrowed.
    pub(super) fn as_ids(&self, is_kong: bool) -> GatewayIds<'_> {
        GatewayIds { request: &self.request, is_kong }
    }
}

impl Gateway {
    /// Names of the route of the request whose headers these are, for the table of projects; none where the host does
    /// not tell.
    pub(super) fn routes(&self, host: HostKind) -> Option<Vec<Vec<u8>>> {
        let names: Vec<Vec<u8>> = match host {
            HostKind::Envoy => property(&["xds", "route_name"]).into_iter().collect(),
            HostKind::WasmX if self.has_kong() => {
                [["kong", "route_name"], ["kong", "route_id"]].iter().filter_map(|name| property(name).ok()).collect()
            }
            _ => Vec::new(),
        };
        (!names.is_empty()).then_some(names)
    }

    /// Metrics may be used, as far as it has been found out in a request: Kong has them since 3.8, and before that
    /// calling for one traps. Its Prometheus plugin fails as a whole where the name of a filter with metrics has a hyphen
    /// (3.9, `kong/plugins/prometheus/wasmx.lua`).
    pub(super) fn has_metrics(&self) -> bool {
        self.has_metrics.get().copied().unwrap_or(false)
    }

    /// Finds out, in a request, whether metrics may be used.
    fn look_for_metrics(&self) {
        if self.has_metrics.get().is_none()
            && let Ok(filter) = property(&["plugin_name"])
        {
            let version = if self.has_kong() { text("version") } else { None };
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
            let has = version.is_some_and(|version| kong_has_metrics(&version)) && filter.iter().all(allowed);
            self.has_metrics.get_or_init(|| has);
        }
    }

    /// The route and service of the request whose headers these are. Kong forgets them before the log phase.
    pub(super) fn route(&self) -> Vec<GatewayFact> {
        if !self.has_kong() {
            return Vec::new();
        }
        let named = |kind: &str| text(&format!("{kind}_name")).or_else(|| text(&format!("{kind}_id")));
        let both = [("gateway.route", named("route")), ("gateway.service", named("service"))];
        both.into_iter().filter_map(|(key, name)| Some((key, name?.into()))).collect()
    }

    /// What else the gateway says of the call whose log phase this is.
    pub(super) fn facts(&self) -> Vec<GatewayFact> {
        self.look_for_metrics();
        let mut facts = Vec::with_capacity(4);
        facts.extend(self.node().map(|node| ("gateway.node", node.into())));
        let time = |variable| property(&["ngx", variable]).ok();
        for (variable, key) in [
            ("upstream_connect_time", "gateway.upstream_connect_time"),
            ("upstream_header_time", "gateway.upstream_header_time"),
        ] {
            facts.extend(time(variable).and_then(|value| Some((key, upstream_time(&value)?))));
        }
        if let Some(value) = time("upstream_response_time") {
            facts.extend(upstream_time(&value).map(|time| ("gateway.upstream_response_time", time)));
            facts.extend(attempts_of_times(&value));
        }
        facts
    }

    /// What Envoy says of the call whose log phase this is: where it went, how often, and which workload it came from (the URI
    /// of the certificate that its client has shown), if it may have one: each property costs about 3 µs. Flags are asked for
    /// with the details of the ending alone.
    pub(super) fn envoy_facts(may_have_peer: bool, with_flags: bool) -> Vec<GatewayFact> {
        let facts: [(&'static str, &[&str]); 3] = [
            ("gateway.route", &["xds", "route_name"]),
            ("gateway.service", &["xds", "cluster_name"]),
            ("gateway.peer", &["connection", "uri_san_peer_certificate"]),
        ];
        let said = |path: &[&str]| property(path).ok().and_then(readable);
        let asked = facts.into_iter().take(if may_have_peer { 3 } else { 2 });
        let mut facts: Vec<GatewayFact> = asked.filter_map(|(name, path)| Some((name, said(path)?.into()))).collect();
        facts.extend(property(&["upstream", "request_attempt_count"]).ok().and_then(|count| attempts_of_count(&count)));
        if with_flags {
            facts.extend(property(&["response", "flags"]).ok().and_then(|flags| response_flags(&flags)));
        }
        facts
    }

    /// The client has left before an answer began (nginx's own status 499).
    pub(super) fn client_is_gone() -> bool {
        property(&["ngx", "status"]).is_ok_and(|status| status == b"499")
    }

    /// The gateway is Kong, and not another nginx. Asked only in a request on WasmX.
    pub(super) fn is_kong(&self) -> bool {
        *self.is_kong.get_or_init(|| property(&["ngx", "kong_proxy_mode"]).is_ok())
    }

    fn node(&self) -> Option<String> {
        if !self.has_kong() {
            return None;
        }
        if self.node.get().is_none() {
            let node = property(&["kong", "node", "id"]).ok().and_then(readable)?;
            return Some(self.node.get_or_init(|| node).clone());
        }
        self.node.get().cloned()
    }

    fn has_kong(&self) -> bool {
        if let Some(known) = self.has_kong.get() {
            return *known;
        }
        if !self.is_kong() {
            return false;
        }
        let has = match property(&["kong", "version"]) {
            Ok(_) => true,
            Err(NOT_FOUND) => false,
            // It could not say just now.
            Err(_) => return false,
        };
        *self.has_kong.get_or_init(|| has)
    }
}

/// This request is the first on one of the first hundred connections since nginx began, or one of 4096: a line for each
/// of these is seen by who tries, and fills no log.
pub(super) fn is_one_of_few() -> bool {
    let number = |name| property(&["ngx", name]).ok().and_then(readable).and_then(|text| text.parse::<u64>().ok());
    let early = number("connection").is_some_and(|serial| serial <= 100) && number("connection_requests") == Some(1);
    early || property(&["ngx", "request_id"]).is_ok_and(|id| id.starts_with(b"000"))
}

/// A property of Kong.
fn text(name: &str) -> Option<String> {
    property(&["kong", name]).ok().and_then(readable)
}

/// Longest value that is kept, bytes.
const VALUE_MAX: usize = 200;

fn readable(value: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(value).ok().filter(|text| !text.is_empty())?;
    Some(crate::trace::truncate(&text, VALUE_MAX).to_owned())
}
