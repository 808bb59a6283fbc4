//! The null tap: five callbacks, four header reads, both bodies copied chunk by chunk, always `Continue`.
//!
//! Whatever a tap does beyond this is its own cost; `make bench` prints the filter's beside it.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Tap::default()))
    }
}

#[derive(Default)]
struct Tap {
    headers: [Option<Bytes>; 4],
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Context for Tap {}

impl HttpContext for Tap {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.headers[0] = self.get_http_request_header_bytes(":method");
        self.headers[1] = self.get_http_request_header_bytes(":path");
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if let Some(chunk) = self.get_http_request_body(0, size) {
            self.request.extend_from_slice(&chunk);
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.headers[2] = self.get_http_response_header_bytes(":status");
        self.headers[3] = self.get_http_response_header_bytes("content-type");
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if let Some(chunk) = self.get_http_response_body(0, size) {
            self.response.extend_from_slice(&chunk);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        // Keeps the copies from being optimised away.
        std::hint::black_box((&self.headers, &self.request, &self.response));
    }
}
