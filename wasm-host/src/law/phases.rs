//! hosts.md section 3, the WasmX column: which host call is fatal in which callback.

use super::Rule;
use crate::phase::Phase::{self, CallAnswer, Configure, Delete, Log, RequestBody, RequestHeaders, ResponseBody};
use crate::phase::Phase::{ResponseHeaders, Tick, VmStart};
use crate::state::Place;

const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;

/// The rule that `call` with `arguments` breaks at `place` whatever the rest of its arguments; none where it is allowed.
pub(crate) fn forbidden(call: &str, arguments: &[u64], place: Place) -> Option<Rule> {
    let kind = arguments.first().map_or(0, |first| *first as u32);
    let phase = place.phase;
    let broken = |broken: bool, rule: Rule| broken.then_some(rule);
    match call {
        "proxy_http_call" => {
            broken(!matches!(phase, RequestHeaders | RequestBody | Tick | CallAnswer), Rule::CallOutsideTick)
        }
        "proxy_set_tick_period_milliseconds" => {
            broken(!matches!(phase, VmStart | Configure | Tick | CallAnswer), Rule::TickSetOutside)
        }
        "proxy_get_property" => broken(phase == Delete, Rule::PropertyInDelete),
        "proxy_get_header_map_pairs" | "proxy_get_header_map_value" => {
            broken(kind == REQUEST_HEADERS && phase == Tick, Rule::RequestHeadersInTick)
        }
        "proxy_set_header_map_pairs"
        | "proxy_add_header_map_value"
        | "proxy_replace_header_map_value"
        | "proxy_remove_header_map_value" => set_headers(kind, phase),
        "proxy_get_buffer_bytes" | "proxy_set_buffer_bytes" => body(kind, phase),
        "proxy_send_local_response" => {
            broken(!matches!(phase, RequestHeaders | RequestBody | ResponseHeaders), Rule::LocalResponseLate)
        }
        _ => absent(call),
    }
}

fn set_headers(map: u32, phase: Phase) -> Option<Rule> {
    match (map, phase) {
        (REQUEST_HEADERS, ResponseHeaders | ResponseBody | Log) => Some(Rule::RequestHeadersSetLate),
        (RESPONSE_HEADERS, ResponseBody | Log) => Some(Rule::ResponseHeadersSetLate),
        _ => None,
    }
}

fn body(buffer: u32, phase: Phase) -> Option<Rule> {
    match (buffer, phase) {
        (REQUEST_BODY, ResponseHeaders | ResponseBody) => Some(Rule::RequestBodyInResponse),
        (RESPONSE_BODY, ResponseBody) => None,
        (RESPONSE_BODY, _) => Some(Rule::ResponseBodyElsewhere),
        _ => None,
    }
}

/// Calls that WasmX does not have, or not as it is configured by default.
fn absent(call: &str) -> Option<Rule> {
    match call {
        "proxy_get_shared_data" | "proxy_set_shared_data" => Some(Rule::SharedData),
        "proxy_register_shared_queue"
        | "proxy_resolve_shared_queue"
        | "proxy_enqueue_shared_queue"
        | "proxy_dequeue_shared_queue" => Some(Rule::SharedQueue),
        "proxy_call_foreign_function" => Some(Rule::ForeignFunction),
        "proxy_done" | "proxy_close_stream" | "proxy_get_status" | "proxy_grpc_call" | "proxy_grpc_stream"
        | "proxy_grpc_send" | "proxy_grpc_cancel" | "proxy_grpc_close" => Some(Rule::NotImplemented),
        _ => None,
    }
}
