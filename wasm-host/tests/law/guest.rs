//! Tiny guests in the text format: all callbacks are there and do nothing, but for those that a test writes.

use std::collections::BTreeMap;

use wasm_host::Module;

/// Callbacks: parameters, and the result where they have one.
const CALLBACKS: &[(&str, usize, Option<u32>)] = &[
    ("proxy_on_context_create", 2, None),
    ("proxy_on_vm_start", 2, Some(1)),
    ("proxy_on_configure", 2, Some(1)),
    ("proxy_on_tick", 1, None),
    ("proxy_on_http_call_response", 5, None),
    ("proxy_on_request_headers", 3, Some(0)),
    ("proxy_on_request_body", 3, Some(0)),
    ("proxy_on_request_trailers", 2, Some(0)),
    ("proxy_on_response_headers", 3, Some(0)),
    ("proxy_on_response_body", 3, Some(0)),
    ("proxy_on_response_trailers", 2, Some(0)),
    ("proxy_on_log", 1, None),
    ("proxy_on_done", 1, Some(1)),
    ("proxy_on_delete", 1, None),
    ("proxy_on_new_connection", 1, Some(0)),
    ("proxy_on_downstream_data", 3, Some(0)),
    ("proxy_on_downstream_connection_close", 2, None),
    ("proxy_on_upstream_data", 3, Some(0)),
    ("proxy_on_upstream_connection_close", 2, None),
    ("proxy_on_queue_ready", 2, None),
    ("proxy_on_grpc_receive_initial_metadata", 3, None),
    ("proxy_on_grpc_receive", 3, None),
    ("proxy_on_grpc_receive_trailing_metadata", 3, None),
    ("proxy_on_grpc_close", 3, None),
    ("proxy_on_foreign_function", 3, None),
];

/// Host calls that these tests make: their parameters, `l` for 64 bits.
const IMPORTS: &[(&str, &str)] = &[
    ("proxy_log", "iii"),
    ("proxy_get_log_level", "i"),
    ("proxy_set_tick_period_milliseconds", "i"),
    ("proxy_get_current_time_nanoseconds", "i"),
    ("proxy_get_buffer_bytes", "iiiii"),
    ("proxy_get_header_map_pairs", "iii"),
    ("proxy_get_header_map_value", "iiiii"),
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_send_local_response", "iiiiiiii"),
    ("proxy_get_property", "iiii"),
    ("proxy_http_call", "iiiiiiiiii"),
    ("proxy_set_shared_data", "iiiii"),
    ("proxy_register_shared_queue", "iii"),
    ("proxy_call_foreign_function", "iiiiii"),
    ("proxy_done", ""),
    ("proxy_define_metric", "iiii"),
    ("proxy_increment_metric", "il"),
    ("proxy_record_metric", "il"),
    ("proxy_not_in_any_spec", "i"),
];

/// Where strings and results lie in the guest's memory.
const STRINGS: usize = 1024;
/// Where a call may write: pointer, length, token.
pub const OUT: usize = 16;

/// A guest under construction.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    code: BTreeMap<&'static str, String>,
    results: BTreeMap<&'static str, u32>,
    left_out: Vec<&'static str>,
    strings: Vec<u8>,
}

impl Guest {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `code` in a callback; its parameters are locals from 0, `$i` is a free one.
    pub fn on(mut self, callback: &'static str, code: impl AsRef<str>) -> Self {
        self.code.entry(callback).or_default().push_str(code.as_ref());
        self
    }

    /// Has a callback answer `result`.
    pub fn answer(mut self, callback: &'static str, result: u32) -> Self {
        self.results.insert(callback, result);
        self
    }

    /// Leaves an export out.
    pub fn without(mut self, export: &'static str) -> Self {
        self.left_out.push(export);
        self
    }

    /// Places bytes in the guest's memory: pointer and length as two constants.
    pub fn text(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let at = STRINGS + self.strings.len();
        self.strings.extend(bytes.as_ref());
        format!("(i32.const {at}) (i32.const {})", bytes.as_ref().len())
    }

    /// Code of an HTTP call to `upstream` with these headers.
    pub fn http_call(&mut self, upstream: &str, headers: &[(&str, &str)]) -> String {
        let (upstream, headers) = (self.text(upstream), serialise(headers));
        let headers = self.text(headers);
        let none = "(i32.const 0) (i32.const 0)";
        format!("(drop (call $proxy_http_call {upstream} {headers} {none} {none} (i32.const 1000) (i32.const {OUT})))")
    }

    /// Code that logs a text.
    pub fn log(&mut self, text: &str) -> String {
        let text = self.text(text);
        format!("(drop (call $proxy_log (i32.const 2) {text}))")
    }

    pub fn module(&self) -> Module {
        let bytes = wat::parse_str(self.wat()).unwrap_or_else(|error| panic!("{error}\n{}", self.wat()));
        Module::from_bytes(&bytes).unwrap()
    }

    fn wat(&self) -> String {
        let code: String = self.code.values().cloned().collect();
        let used = IMPORTS
            .iter()
            .filter(|(name, _)| code.contains(&format!("${name} ")) || code.contains(&format!("${name})")));
        let imports: String = used.map(|(name, parameters)| import(name, parameters)).collect();
        let callbacks: String = CALLBACKS.iter().map(|callback| self.callback(callback)).collect();
        let strings: String = self.strings.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let abi = self.export("proxy_abi_version_0_2_1");
        let allocate = self.export("proxy_on_memory_allocate");
        format!(
            r#"(module {imports}
            (memory (export "memory") 256)
            (global $free (mut i32) (i32.const 1048576))
            (data (i32.const {STRINGS}) "{strings}")
            (func {abi})
            (func {allocate} (param i32) (result i32)
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 0))))
            {callbacks})"#
        )
    }

    fn export(&self, name: &str) -> String {
        if self.left_out.contains(&name) { String::new() } else { format!("(export \"{name}\")") }
    }

    fn callback(&self, (name, parameters, result): &(&'static str, usize, Option<u32>)) -> String {
        let export = self.export(name);
        let parameters = "i32 ".repeat(*parameters);
        let code = self.code.get(name).map_or("", String::as_str);
        let result = result.map(|usual| self.results.get(name).copied().unwrap_or(usual));
        let (declared, value) = match result {
            Some(value) => ("(result i32)", format!("(i32.const {value})")),
            None => ("", String::new()),
        };
        format!("(func {export} (param {parameters}) {declared} (local $i i32) {code} {value})\n")
    }
}

fn import(name: &str, parameters: &str) -> String {
    let parameters: String = parameters.chars().map(|letter| if letter == 'l' { "i64 " } else { "i32 " }).collect();
    format!("(import \"env\" \"{name}\" (func ${name} (param {parameters}) (result i32)))\n")
}

/// Header pairs as the ABI has them.
fn serialise(headers: &[(&str, &str)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    headers.iter().for_each(|(name, value)| bytes.extend([number(name.len()), number(value.len())].concat()));
    headers.iter().for_each(|(name, value)| bytes.extend(format!("{name}\0{value}\0").into_bytes()));
    bytes
}
