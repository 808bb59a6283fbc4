//! The functions and numbers of the ABI, as they are.

/// Success.
pub(super) const OK: u32 = 0;

/// There is no such thing.
pub(super) const NOT_FOUND: u32 = 1;

/// An argument is not valid; of a call: there is no such cluster or address.
pub(super) const BAD_ARGUMENT: u32 = 2;

/// Shared data was changed by another VM in between.
pub(super) const CAS_MISMATCH: u32 = 8;

/// Answer of every callback that could hold traffic up.
pub(super) const CONTINUE: u32 = 0;

/// Buffers (`proxy_buffer_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

/// Header maps (`proxy_map_type_t`).
#[derive(Debug, Clone, Copy)]
#[expect(clippy::enum_variant_names, reason = "the ABI's names; it has maps of trailers too")]
#[repr(u32)]
pub(super) enum MapType {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    CallResponseHeaders = 6,
}

/// Log levels (`proxy_log_level_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Severity {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// Metric types (`proxy_metric_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum MetricType {
    Counter = 0,
    Histogram = 2,
}

// Rust's own ways to these panic or exit where the host fails them.
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub(super) fn random_get(bytes: *mut u8, len: usize) -> u32;
    pub(super) safe fn environ_sizes_get(count: &mut usize, size: &mut usize) -> u32;
    pub(super) fn environ_get(pointers: *mut *mut u8, bytes: *mut u8) -> u32;
}

// `proxy_get_log_level` must never be among these: WasmX declares it with another type and does not load the module.
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(super) safe fn proxy_get_current_time_nanoseconds(time: &mut u64) -> u32;
    pub(super) safe fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(super) safe fn proxy_set_effective_context(context: u32) -> u32;
    pub(super) safe fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    pub(super) safe fn proxy_record_metric(metric: u32, value: u64) -> u32;
    pub(super) safe fn proxy_done() -> u32;
    pub(super) fn proxy_log(level: u32, message: *const u8, len: usize) -> u32;
    pub(super) fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: &mut *mut u8,
        len: &mut usize,
    ) -> u32;
    pub(super) fn proxy_get_header_map_pairs(kind: u32, data: &mut *mut u8, len: &mut usize) -> u32;
    pub(super) fn proxy_get_header_map_value(
        kind: u32,
        key: *const u8,
        key_len: usize,
        data: &mut *mut u8,
        len: &mut usize,
    ) -> u32;
    pub(super) fn proxy_replace_header_map_value(
        kind: u32,
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    pub(super) fn proxy_get_property(path: *const u8, path_len: usize, data: &mut *mut u8, len: &mut usize) -> u32;
    // Traps on WasmX without a store in its configuration: for Envoy alone.
    pub(super) fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        data: &mut *mut u8,
        len: &mut usize,
        cas: &mut u32,
    ) -> u32;
    pub(super) fn proxy_set_shared_data(key: *const u8, key_len: usize, data: *const u8, len: usize, cas: u32) -> u32;
    pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, metric: &mut u32) -> u32;
    pub(super) fn proxy_http_call(
        upstream: *const u8,
        upstream_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        token: &mut u32,
    ) -> u32;
}
