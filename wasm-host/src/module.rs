//! A compiled module, and whether a host loads it.

use std::path::Path;
use std::sync::Arc;

use wasmi::{CompilationMode, Config, Engine, Linker};

use crate::guest::Link;
use crate::imports::{import_rule, linker};
use crate::law::Rule;

/// The callbacks that the Rust SDK exports. WasmX crashes on a module without "the optional ones"; which those are was not
/// measured, so a module must have them all.
pub const CALLBACKS: [&str; 25] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_downstream_connection_close",
    "proxy_on_downstream_data",
    "proxy_on_foreign_function",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_new_connection",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_upstream_connection_close",
    "proxy_on_upstream_data",
    "proxy_on_vm_start",
];
const ABI_VERSIONS: [&str; 3] = ["proxy_abi_version_0_1_0", "proxy_abi_version_0_2_0", "proxy_abi_version_0_2_1"];

/// A Proxy-Wasm module, compiled once for any number of workers, on any thread.
#[derive(Clone, Debug)]
pub struct Module {
    pub(crate) module: Arc<wasmi::Module>,
}

impl Module {
    /// Reads and compiles a file.
    ///
    /// # Errors
    ///
    /// A sentence, where the file cannot be read or is no valid module.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, String> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::from_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Compiles a binary module.
    ///
    /// # Errors
    ///
    /// A sentence, where the bytes are no valid module.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut config = Config::default();
        config.compilation_mode(CompilationMode::Eager);
        let engine = Engine::new(&config);
        let module = wasmi::Module::new(&engine, bytes).map_err(|error| error.to_string())?;
        Ok(Self { module: Arc::new(module) })
    }

    /// The imports, as `module.name`.
    #[must_use]
    pub fn imports(&self) -> Vec<(String, String)> {
        self.module.imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect()
    }

    pub(crate) fn linker(&self) -> Linker<Link> {
        linker(self.module.engine())
    }

    /// The first rule that loading this module breaks, and what breaks it.
    pub(crate) fn refused(&self, on_wasmx: bool) -> Option<(Rule, String)> {
        let mut imports = self.module.imports();
        let import = imports.find_map(|import| {
            let rule = import_rule(import.module(), import.name(), import.ty(), on_wasmx)?;
            Some((rule, format!("{}.{}", import.module(), import.name())))
        });
        import.or_else(|| self.unknown_abi()).or_else(|| self.lacks_callback().filter(|_| on_wasmx))
    }

    fn exports(&self, name: &str) -> bool {
        self.module.get_export(name).is_some()
    }

    fn unknown_abi(&self) -> Option<(Rule, String)> {
        if !ABI_VERSIONS.iter().any(|version| self.exports(version)) {
            return Some((Rule::UnknownAbi, "no proxy_abi_version_…".to_owned()));
        }
        let allocates = self.exports("malloc") || self.exports("proxy_on_memory_allocate");
        (!allocates).then(|| (Rule::UnknownAbi, "no proxy_on_memory_allocate".to_owned()))
    }

    fn lacks_callback(&self) -> Option<(Rule, String)> {
        let missing = CALLBACKS.iter().find(|name| !self.exports(name))?;
        Some((Rule::CallbackMissing, (*missing).to_owned()))
    }
}
