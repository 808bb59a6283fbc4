//! The law of hosts: every rule that a filter can break, and what the real host does then.
//!
//! References are to the project's measurements of the hosts ("hosts.md", by section) and to the files of
//! <https://github.com/Kong/ngx_wasm_module>. Breaking a rule of kind [`Effect::Trap`] or [`Effect::Crash`] has that
//! effect in this host too; the others are recorded, and where they cost connections, those are lost.

mod phases;

pub(crate) use phases::forbidden;

use std::fmt;

/// What the real host does when a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The worker process dies (SIGSEGV).
    Crash,
    /// The instance dies with all that is in it; a request under way may get a 500.
    Trap,
    /// A connection of the worker is lost for ever; with the last one, every request gets a 500.
    Leak,
    /// The module is not loaded, or the worker does not come up.
    NoStart,
    /// Memory of the guest is overwritten.
    CorruptsMemory,
    /// The host does something else than was asked, and does not say so.
    Misleads,
    /// The exchange waits, for ever or until something else happens.
    HoldsUp,
    /// Something outside the worker fails.
    Breaks,
}

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// WasmX alone: Envoy allows it, or answers with a status.
    WasmX,
    /// Envoy and WasmX.
    Both,
}

macro_rules! law {
    ($($rule:ident: $host:ident $effect:ident, $reference:literal, $text:literal;)*) => {
        /// A rule of a host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $(#[doc = $text] $rule,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Whose rule it is.
            #[must_use]
            pub fn host(self) -> Host {
                match self { $(Self::$rule => Host::$host,)* }
            }

            /// What the real host does.
            #[must_use]
            pub fn effect(self) -> Effect {
                match self { $(Self::$rule => Effect::$effect,)* }
            }

            /// Where it was measured or read.
            #[must_use]
            pub fn reference(self) -> &'static str {
                match self { $(Self::$rule => $reference,)* }
            }

            /// The rule in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$rule => $text,)* }
            }
        }
    };
}

law! {
    // Loading and starting.
    UnknownImport: Both NoStart, "hosts.md 2.10",
        "An import that the host does not have: the module is not loaded.";
    GetLogLevelImported: WasmX NoStart, "hosts.md 2.10, ngx_proxy_wasm_host.c:1927-1930",
        "`proxy_get_log_level` is declared with another type: the module is not loaded.";
    UnknownAbi: Both NoStart, "hosts.md 8",
        "No `proxy_abi_version_0_1_0`, `_0_2_0` or `_0_2_1`, or no allocator: the module is not loaded.";
    CallbackMissing: WasmX Crash, "hosts.md 2.9",
        "A module that lacks an optional callback: the worker crashes.";
    StartRefused: Both NoStart, "hosts.md 2 (failure at start), 10",
        "`on_vm_start` or `on_configure` answers false or traps at start: the worker cannot be respawned (WasmX), the gateway exits (Envoy).";

    // Traps of the guest's own.
    GuestTrap: Both Trap, "hosts.md 3",
        "The guest traps (a panic, an access out of bounds, `proc_exit`): the instance dies with all queues in it.";
    TrapInTick: WasmX Trap, "hosts.md 2.8",
        "A trap in a tick: the next instance sets its own timer and the old one goes on, so ticks multiply.";
    TrapInDone: WasmX Crash, "hosts.md 2.9",
        "A trap in `on_done`: `on_log` is then run on the trapped instance, and the worker crashes.";

    // HTTP calls.
    CallOutsideTick: WasmX Trap, "hosts.md 2.2, ngx_proxy_wasm_host.c:1188-1205",
        "An HTTP call from a callback that may not make one (start, configuration, response, log, done).";
    CallAndContinue: WasmX Crash, "hosts.md 2.1",
        "An HTTP call from a request callback that then continues: the worker crashes when the request ends before the answer comes.";
    CallFromAnswer: WasmX Crash, "hosts.md 2.3",
        "An HTTP call from the root's `on_http_call_response`: the worker crashes at every second one.";
    SecondCall: WasmX Leak, "hosts.md 2.4, ngx_http_proxy_wasm_dispatch.c:516-536",
        "A second HTTP call of a root while one is under way: its connection is lost.";
    CallRefused: WasmX Leak, "hosts.md 2.5, 4",
        "An HTTP call that the host refuses (an address that is none, no `:method` or `:path`): a connection is lost each time.";
    CallFramed: WasmX Misleads, "hosts.md 4",
        "An HTTP call with `content-length` or `transfer-encoding` of its own: the body is cut, or framed twice.";

    CallInForeignTick: WasmX Trap, "hosts.md 13.2a",
        "An HTTP call in the tick of a timer that an earlier instance's root has left, before the root's own first tick.";
    PlanFreedUnderCall: WasmX Crash, "hosts.md 13.2b, ngx_http_proxy_wasm_dispatch.c:874",
        "An HTTP call ends after the plan of any filter chain was freed while it was under way, and requests have made its root anew: the worker crashes.";

    // Timers.
    TickSetTwice: WasmX Trap, "hosts.md 3",
        "The tick's period is set a second time to something other than 0.";
    TickSetOutside: WasmX Trap, "hosts.md 3",
        "The tick's period is set outside `on_vm_start` and `on_configure`.";

    // Bodies.
    PartOfBody: WasmX CorruptsMemory, "hosts.md 2.6, ngx_proxy_wasm_host.c:413-434",
        "Less than the whole is asked of a body that lies in several buffers: the host copies past the memory it was given.";
    BodyOffset: WasmX Misleads, "hosts.md 2.7, ngx_proxy_wasm_host.c:372-437",
        "A body is asked for from an offset: the offset is ignored.";
    RequestBodyInResponse: WasmX Trap, "hosts.md 3",
        "The request body is read or set in a response callback.";
    ResponseBodyElsewhere: WasmX Trap, "hosts.md 3",
        "The response body is read or set outside `on_response_body`.";
    ResponseBodyPaused: WasmX Misleads, "hosts.md 6",
        "`on_response_body` pauses: the chunk is buffered and comes a second time.";
    RequestPaused: WasmX HoldsUp, "hosts.md 6",
        "A request callback pauses without an HTTP call to wait for: the request hangs for ever.";

    // Headers and answers.
    RequestHeadersInTick: WasmX Crash, "hosts.md 2.9",
        "Request headers are read in a tick: there is no request, and the worker crashes.";
    RequestHeadersSetLate: WasmX Trap, "hosts.md 3",
        "A request header is set after the request has gone.";
    ResponseHeadersSetLate: WasmX Trap, "hosts.md 3",
        "A response header is set after the head of the response has gone.";
    LocalResponseLate: WasmX Trap, "hosts.md 3",
        "A local response is sent after the response has begun.";

    // Properties.
    PluginNameInConfigure: WasmX Crash, "hosts.md 2.9",
        "The property `plugin_name` is read in `on_configure`: the worker crashes.";

    PropertyInDelete: WasmX Crash, "hosts.md 13.1",
        "A property is read in `on_delete`: there is no request any more, and the worker crashes.";

    // Metrics.
    MetricsTooOld: WasmX Trap, "hosts.md 1, 3",
        "Metrics on Kong 3.4 to 3.7, where they are not implemented.";
    MetricNameTooLong: WasmX Trap, "hosts.md 3, 12",
        "A metric's name is longer than 256 bytes, with its prefix `pw:FILTER:`.";
    MetricWrongType: WasmX Trap, "hosts.md 3, 12",
        "Increment of a gauge, record of a counter, or get of a histogram.";
    MetricsFull: WasmX Trap, "hosts.md 3, 12",
        "More metrics than fit into the slab of 5 MB.";
    MetricBreaksScrape: WasmX Breaks, "hosts.md 12, kong/plugins/prometheus/wasmx.lua:63",
        "Any metric of a filter whose name has a hyphen: every scrape of Kong 3.9's /metrics fails.";

    // What WasmX does not have.
    SharedData: WasmX Trap, "hosts.md 3",
        "Shared data without a `shm_kv` in the gateway's configuration.";
    SharedQueue: WasmX Trap, "hosts.md 3",
        "A shared queue that the gateway's configuration does not define.";
    ForeignFunction: WasmX Trap, "hosts.md 3",
        "A foreign function that the host does not have.";
    NotImplemented: WasmX Trap, "hosts.md 3",
        "`proxy_done`, gRPC, `proxy_close_stream` or another call that is not implemented.";
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// In which callback, of which context, with which values.
    pub context: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, context } = self;
        write!(out, "{rule:?} ({:?}, {}): {} Here: {context}", rule.effect(), rule.reference(), rule.text())
    }
}
