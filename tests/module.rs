//! The built module: what it asks of a host, and its size.
//!
//! A host refuses to load a module that imports what it does not have; WasmX also refuses `proxy_get_log_level`, which
//! it declares with another type. WasmX crashes on a module that lacks a callback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use wasmparser::{Parser, Payload};

/// WASI functions that Kong 3.4's host and later ones have.
const WASI: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];
/// Functions of the Proxy-Wasm ABI 0.2.1 that both hosts have and that the filter may call.
const PROXY: &[&str] = &[
    "proxy_define_metric",
    "proxy_done",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_replace_header_map_value",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];
/// What a host needs beside the callbacks.
const OTHERS: [&str; 4] = ["_initialize", "memory", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate"];
/// Largest module, in bytes.
const SIZE_MAX: usize = 640 * 1024;

fn module() -> Vec<u8> {
    let path = testkit::repository_root().join("filters/ai-tracing.wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run: make build", path.display()))
}

#[test]
fn it_imports_only_what_both_hosts_have() {
    let module = module();
    let mut seen = 0;
    for payload in Parser::new(0).parse_all(&module) {
        let Payload::ImportSection(imports) = payload.unwrap() else { continue };
        for import in imports.into_imports() {
            let import = import.unwrap();
            let allowed = match import.module {
                "env" => PROXY,
                "wasi_snapshot_preview1" => WASI,
                other => panic!("import from {other}"),
            };
            assert!(allowed.contains(&import.name), "{} is not on every host", import.name);
            seen += 1;
        }
    }
    assert!(seen > 5);
}

#[test]
fn it_exports_every_callback() {
    let module = module();
    let exports: Vec<String> = Parser::new(0)
        .parse_all(&module)
        .filter_map(|payload| match payload.unwrap() {
            Payload::ExportSection(exports) => Some(exports),
            _ => None,
        })
        .flat_map(|exports| exports.into_iter().map(|export| export.unwrap().name.to_owned()))
        .collect();
    let missing: Vec<_> = wasm_host::CALLBACKS
        .iter()
        .chain(&OTHERS)
        .filter(|name| !exports.iter().any(|export| export == *name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn it_stays_small() {
    assert!(module().len() <= SIZE_MAX, "{} bytes", module().len());
}
