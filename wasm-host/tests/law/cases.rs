//! One guest for each rule.

use wasm_host::{Isolation, Kong, Personality, Rule, WasmX};

use crate::guest::{Guest, OUT};

/// A guest that breaks a rule.
pub struct Case {
    pub rule: Rule,
    pub guest: Guest,
    pub wasmx: Personality,
    /// The gateway frees the plan of another filter chain, with all instances: while the guest's call is under way, or
    /// before its timer comes.
    pub freed: Option<Freed>,
}

/// When a plan is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    UnderCall,
    BeforeTick,
}

/// Header list of a call that is as it should be.
pub const HEADERS: &[(&str, &str)] = &[(":method", "POST"), (":path", "/"), (":authority", "h")];

/// Kong 3.9 with a filter whose metrics can be scraped.
pub fn kong(change: impl FnOnce(&mut WasmX)) -> Personality {
    let mut wasmx = WasmX { filter_name: "tap".to_owned(), isolation: Isolation::None, ..WasmX::default() };
    change(&mut wasmx);
    Personality::WasmX(wasmx)
}

fn case(rule: Rule, guest: Guest) -> Case {
    Case { rule, guest, wasmx: kong(|_| {}), freed: None }
}

/// A guest that runs `code` in `callback`.
fn on(rule: Rule, callback: &'static str, code: &str) -> Case {
    case(rule, Guest::new().on(callback, code))
}

/// A guest that makes an HTTP call in `callback`.
fn calls_in(rule: Rule, callback: &'static str) -> Case {
    let mut guest = Guest::new();
    let call = guest.http_call("h:80", HEADERS);
    case(rule, guest.on(callback, call))
}

const TICK: &str = "(drop (call $proxy_set_tick_period_milliseconds (i32.const 100)))";

/// Reads of a buffer: type, start, most.
fn body(buffer: u32, start: u32, most: u32) -> String {
    let out = format!("(i32.const {OUT}) (i32.const {})", OUT + 4);
    format!("(drop (call $proxy_get_buffer_bytes (i32.const {buffer}) (i32.const {start}) (i32.const {most}) {out}))")
}

/// Defines a metric of that type and name; its id lies at [`OUT`].
pub fn define(guest: &mut Guest, kind: u32, name: &str) -> String {
    let name = guest.text(name);
    format!("(drop (call $proxy_define_metric (i32.const {kind}) {name} (i32.const {OUT})))")
}

/// All rules' guests.
pub fn cases() -> Vec<Case> {
    let mut cases = loading();
    cases.extend(calling());
    cases.extend(in_callbacks());
    cases.extend(measuring());
    cases
}

fn loading() -> Vec<Case> {
    let trap_in_done = case(Rule::TrapInDone, Guest::new().on("proxy_on_done", "unreachable"));
    vec![
        on(Rule::UnknownImport, "proxy_on_tick", "(drop (call $proxy_not_in_any_spec (i32.const 0)))"),
        on(Rule::GetLogLevelImported, "proxy_on_tick", "(drop (call $proxy_get_log_level (i32.const 16)))"),
        case(Rule::UnknownAbi, Guest::new().without("proxy_abi_version_0_2_1")),
        case(Rule::CallbackMissing, Guest::new().without("proxy_on_tick")),
        case(Rule::StartRefused, Guest::new().answer("proxy_on_configure", 0)),
        on(Rule::GuestTrap, "proxy_on_request_headers", "unreachable"),
        on(Rule::TrapInTick, "proxy_on_tick", "unreachable"),
        trap_in_done,
    ]
}

fn calling() -> Vec<Case> {
    let mut refused = Guest::new();
    let refused_call = refused.http_call("http://h", HEADERS);
    let mut framed = Guest::new();
    let framed_call = framed.http_call("h", &[HEADERS, &[("content-length", "5")]].concat());
    let mut from_answer = Guest::new();
    let call = from_answer.http_call("h:80", HEADERS);
    let from_answer = from_answer.on("proxy_on_request_headers", "").on("proxy_on_http_call_response", &call);
    let mut twice = Guest::new();
    let (first, second) = (twice.http_call("h", HEADERS), twice.http_call("h", HEADERS));
    vec![
        calls_in(Rule::CallOutsideTick, "proxy_on_log"),
        calls_in(Rule::CallOutsideTick, "proxy_on_response_body"),
        calls_in(Rule::CallOutsideTick, "proxy_on_configure"),
        calls_in(Rule::CallAndContinue, "proxy_on_request_headers"),
        calls_in(Rule::CallAndContinue, "proxy_on_request_body"),
        case(Rule::CallFromAnswer, from_answer.on("proxy_on_tick", call)),
        case(Rule::SecondCall, twice.on("proxy_on_tick", first + &second)),
        case(Rule::CallRefused, refused.on("proxy_on_tick", refused_call)),
        case(Rule::CallFramed, framed.on("proxy_on_tick", framed_call)),
        freed(Rule::PlanFreedUnderCall, Freed::UnderCall),
        freed(Rule::CallInForeignTick, Freed::BeforeTick),
    ]
}

/// A guest that calls at each of its ticks.
fn freed(rule: Rule, freed: Freed) -> Case {
    let mut guest = Guest::new();
    let call = guest.http_call("h:80", HEADERS);
    let timer = if freed == Freed::BeforeTick { TICK } else { "" };
    Case { freed: Some(freed), ..case(rule, guest.on("proxy_on_configure", timer).on("proxy_on_tick", call)) }
}

fn in_callbacks() -> Vec<Case> {
    let mut plugin_name = Guest::new();
    let name = plugin_name.text("plugin_name");
    let property = format!("(drop (call $proxy_get_property {name} (i32.const 16) (i32.const 20)))");
    let mut deleted = Guest::new();
    let node = deleted.text("ngx\0pid");
    let in_delete = format!("(drop (call $proxy_get_property {node} (i32.const 16) (i32.const 20)))");
    let pairs = "(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20)))";
    let add = |map: u32| {
        let text = "(i32.const 1024) (i32.const 0)";
        format!("(drop (call $proxy_add_header_map_value (i32.const {map}) {text} {text}))")
    };
    let zeros = |call: &str, count: usize| format!("(drop (call ${call} {}))", "(i32.const 0) ".repeat(count));
    vec![
        on(Rule::TickSetTwice, "proxy_on_configure", &TICK.repeat(2)),
        on(Rule::TickSetOutside, "proxy_on_request_headers", TICK),
        on(Rule::PartOfBody, "proxy_on_response_body", &body(1, 0, 5000)),
        on(Rule::BodyOffset, "proxy_on_request_body", &body(0, 5, 1 << 20)),
        on(Rule::RequestBodyInResponse, "proxy_on_response_headers", &body(0, 0, 1 << 20)),
        on(Rule::ResponseBodyElsewhere, "proxy_on_log", &body(1, 0, 1 << 20)),
        case(Rule::ResponseBodyPaused, Guest::new().answer("proxy_on_response_body", 1)),
        case(Rule::RequestPaused, Guest::new().answer("proxy_on_request_headers", 1)),
        on(Rule::RequestHeadersInTick, "proxy_on_tick", pairs),
        on(Rule::RequestHeadersSetLate, "proxy_on_response_headers", &add(0)),
        on(Rule::ResponseHeadersSetLate, "proxy_on_response_body", &add(2)),
        on(Rule::LocalResponseLate, "proxy_on_log", &zeros("proxy_send_local_response", 8)),
        case(Rule::PluginNameInConfigure, plugin_name.on("proxy_on_configure", property)),
        case(Rule::PropertyInDelete, deleted.on("proxy_on_delete", in_delete)),
        on(Rule::SharedData, "proxy_on_configure", &zeros("proxy_set_shared_data", 5)),
        on(Rule::SharedQueue, "proxy_on_log", &zeros("proxy_register_shared_queue", 3)),
        on(Rule::ForeignFunction, "proxy_on_log", &zeros("proxy_call_foreign_function", 6)),
        on(Rule::NotImplemented, "proxy_on_tick", &zeros("proxy_done", 0)),
    ]
}

fn measuring() -> Vec<Case> {
    let defining = |kind: u32, name: &str| {
        let mut guest = Guest::new();
        let code = define(&mut guest, kind, name);
        (guest, code)
    };
    let id = format!("(i32.load (i32.const {OUT}))");
    let (gauge, define_gauge) = defining(1, "g");
    let increment = format!("{define_gauge} (drop (call $proxy_increment_metric {id} (i64.const 1)))");
    let (counter, define_counter) = defining(0, "c");
    let record = format!("{define_counter} (drop (call $proxy_record_metric {id} (i64.const 1)))");
    let (plain, define_plain) = defining(0, "c");
    let (long, define_long) = defining(0, &"n".repeat(250));
    let scraped = Case {
        wasmx: kong(|wasmx| wasmx.filter_name = "a-tap".to_owned()),
        ..case(Rule::MetricBreaksScrape, plain.clone().on("proxy_on_tick", &define_plain))
    };
    let old = Case {
        wasmx: kong(|wasmx| wasmx.kong = Some(Kong::V3_7)),
        ..case(Rule::MetricsTooOld, plain.on("proxy_on_tick", define_plain))
    };
    vec![
        old,
        scraped,
        case(Rule::MetricNameTooLong, long.on("proxy_on_tick", define_long)),
        case(Rule::MetricWrongType, gauge.on("proxy_on_tick", increment)),
        case(Rule::MetricWrongType, counter.on("proxy_on_tick", record)),
        case(Rule::MetricsFull, many_metrics()),
    ]
}

/// 40,000 metrics, named by a number that is counted up in the guest's memory.
fn many_metrics() -> Guest {
    let mut guest = Guest::new();
    let name = guest.text([0_u8; 200]);
    let define = format!("(drop (call $proxy_define_metric (i32.const 0) {name} (i32.const {OUT})))");
    guest.on(
        "proxy_on_tick",
        format!(
            "(loop $again (i32.store (i32.const 1024) (local.get $i)) {define}
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 40000))))"
        ),
    )
}
