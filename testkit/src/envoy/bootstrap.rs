//! Envoy's bootstrap as JSON: listeners with the filters before the router, clusters, a local admin interface.

use super::options::{Endpoint, EnvoyOptions, WasmFilter};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;

const HTTP_FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The whole bootstrap.
pub fn bootstrap(options: &EnvoyOptions) -> Value {
    let chains = std::iter::once(&options.filters).chain(&options.more_listeners);
    let listeners = chains.enumerate().map(|(index, filters)| listener(index, filters, &options.upstream));
    let clusters = options.clusters.iter().map(|(name, endpoint)| cluster(name, endpoint));
    let clusters = std::iter::once(cluster("upstream", &options.upstream)).chain(clusters);
    let mut bootstrap = json!({
        "admin": {"address": free_port()},
        "static_resources": {
            "listeners": listeners.collect::<Vec<_>>(),
            "clusters": clusters.collect::<Vec<_>>(),
        },
    });
    if !options.stats_tags.is_empty() {
        bootstrap["stats_config"] = json!({"stats_tags": options.stats_tags});
    }
    if options.replaceable {
        bootstrap["static_resources"]["listeners"] = json!([]);
    }
    if let Some(customise) = options.customise {
        customise(&mut bootstrap);
    }
    bootstrap
}

/// Has Envoy read its listeners from `file`, and again whenever another file takes its place.
pub(super) fn watch(bootstrap: &mut Value, file: &Path) {
    bootstrap["node"] = json!({"id": "testkit", "cluster": "testkit"});
    let source = json!({"path_config_source": {"path": file}, "resource_api_version": "V3"});
    bootstrap["dynamic_resources"] = json!({"lds_config": source});
}

/// The file of [`watch`]: the first listener on this port.
pub(super) fn discovery(filters: &[WasmFilter], upstream: &Endpoint, port: u16) -> Value {
    let mut listener = listener(0, filters, upstream);
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    listener["address"] = address("127.0.0.1", port);
    json!({"resources": [listener]})
}

fn free_port() -> Value {
    address("127.0.0.1", 0)
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

fn listener(index: usize, filters: &[WasmFilter], upstream: &Endpoint) -> Value {
    json!({
        "name": format!("listener_{index}"),
        "address": free_port(),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": http_connection_manager(index, filters, upstream),
        }]}],
    })
}

fn http_connection_manager(index: usize, filters: &[WasmFilter], upstream: &Endpoint) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        // Responses reach the client as the upstream sent them.
        "typed_config": {"@type": format!("{HTTP_FILTERS}.router.v3.Router"), "suppress_envoy_headers": true},
    });
    let http_filters: Vec<Value> = filters.iter().map(wasm_filter).chain([router]).collect();
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("listener_{index}"),
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": http_filters,
        "route_config": {
            "name": format!("routes_{index}"),
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route(upstream)]}],
        },
    })
}

fn route(upstream: &Endpoint) -> Value {
    let mut action = json!({"cluster": "upstream", "timeout": "0s", "idle_timeout": "3600s"});
    if upstream.tls {
        // A provider on the internet only answers to its own name.
        action["host_rewrite_literal"] = json!(upstream.host);
    }
    json!({"name": "everything", "match": {"prefix": "/"}, "route": action})
}

fn wasm_filter(filter: &WasmFilter) -> Value {
    let mut config = json!({
        "name": filter.name,
        "root_id": filter.root_id,
        "failure_policy": if filter.fail_open { "FAIL_OPEN" } else { "FAIL_CLOSED" },
        "vm_config": {
            "vm_id": filter.vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": filter.path}},
            "environment_variables": {"key_values": filter.environment},
        },
    });
    if !filter.config.is_empty() {
        config["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": filter.config});
    }
    json!({"name": filter.name, "typed_config": {"@type": format!("{HTTP_FILTERS}.wasm.v3.Wasm"), "config": config}})
}

fn cluster(name: &str, endpoint: &Endpoint) -> Value {
    let is_ip = endpoint.host.parse::<IpAddr>().is_ok();
    let target = json!({"endpoint": {"address": address(&endpoint.host, endpoint.port)}});
    let mut cluster = json!({
        "name": name,
        "type": if is_ip { "STATIC" } else { "LOGICAL_DNS" },
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [target]}]},
        // The defaults (1024 requests and connections) would show as 503 in load tests.
        "circuit_breakers": {"thresholds": [{"max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536}]},
    });
    if !is_ip {
        cluster["dns_lookup_family"] = json!("V4_PREFERRED");
    }
    if endpoint.tls {
        cluster["transport_socket"] = tls(&endpoint.host);
    }
    cluster
}

fn tls(host: &str) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": SYSTEM_CERTIFICATES},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
            }},
        },
    })
}
