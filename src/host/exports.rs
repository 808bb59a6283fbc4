//! What the host calls. All callbacks of the ABI are exported, also those that do nothing: WasmX crashes on a module
//! that lacks one. None of them fails, and none that could hold traffic up does.

use super::abi::CONTINUE;
use super::vm::Vm;
use super::{hostcalls, log};

unsafe extern "C" {
    /// The module's constructors (wasm-ld makes it).
    safe fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    __wasm_call_ctors();
    log::install_panic_hook();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    hostcalls::allocate(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    Vm::get().create(context, root);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(root: u32, _size: usize) -> u32 {
    Vm::get().start(root);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    let vm = Vm::get();
    vm.root(root).is_none_or(|root| root.configure(&vm, size)).into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    let vm = Vm::get();
    if let Some(root) = vm.root(root).filter(|root| root.has_timer()) {
        vm.clock.tick(&vm, &root);
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(root: u32, token: u32, headers: u32, body: usize, _trailers: u32) {
    let vm = Vm::get();
    if vm.root(root).is_some() {
        // Envoy answers in the context of its choice; the getters must mean this one.
        hostcalls::set_effective_context(root);
        vm.call_answered(token, headers, body);
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    Vm::get().with_stream(context, |stream, vm| stream.request_headers(vm));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, _end_of_stream: u32) -> u32 {
    Vm::get().with_stream(context, |stream, vm| stream.request_body(vm, size));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    Vm::get().with_stream(context, |stream, vm| stream.response_headers(vm, end_of_stream != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    Vm::get().with_stream(context, |stream, vm| stream.response_body(vm, size, end_of_stream != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    Vm::get().with_stream(context, |stream, vm| stream.log(vm));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    let vm = Vm::get();
    vm.root(context).is_none_or(|root| root.is_done(&vm)).into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    Vm::get().delete(context);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(_context: u32, _count: u32) -> u32 {
    CONTINUE
}

/// Trailers end an answer that its body callbacks did not end.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _count: u32) -> u32 {
    Vm::get().with_stream(context, |stream, vm| stream.response_body(vm, 0, true));
    CONTINUE
}

/// Callbacks of the ABI that an HTTP tap has no use for.
macro_rules! unused {
    ($($name:ident($($argument:ident),*) $(-> $result:literal)?;)*) => {
        $(unused!(@ $name($($argument),*) $(-> $result)?);)*
    };
    (@ $name:ident($($argument:ident),*) -> $result:literal) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: u32),*) -> u32 {
            $result
        }
    };
    (@ $name:ident($($argument:ident),*)) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: u32),*) {}
    };
}

unused! {
    proxy_on_new_connection(_context) -> 0;
    proxy_on_downstream_data(_context, _size, _end) -> 0;
    proxy_on_downstream_connection_close(_context, _peer);
    proxy_on_upstream_data(_context, _size, _end) -> 0;
    proxy_on_upstream_connection_close(_context, _peer);
    proxy_on_queue_ready(_root, _queue);
    proxy_on_grpc_receive_initial_metadata(_context, _token, _count);
    proxy_on_grpc_receive(_context, _token, _size);
    proxy_on_grpc_receive_trailing_metadata(_context, _token, _count);
    proxy_on_grpc_close(_context, _token, _status);
    proxy_on_foreign_function(_root, _function, _size);
}
