//! The callbacks of the ABI, and with which of them an exchange is in the request.

/// Which callback runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `_initialize`, or none.
    Load,
    /// `proxy_on_context_create`.
    Create,
    /// `proxy_on_vm_start`.
    VmStart,
    /// `proxy_on_configure`.
    Configure,
    /// `proxy_on_tick`.
    Tick,
    /// `proxy_on_http_call_response`.
    CallAnswer,
    /// `proxy_on_request_headers`.
    RequestHeaders,
    /// `proxy_on_request_body`.
    RequestBody,
    /// `proxy_on_response_headers`.
    ResponseHeaders,
    /// `proxy_on_response_body`.
    ResponseBody,
    /// `proxy_on_log`.
    Log,
    /// `proxy_on_done`.
    Done,
    /// `proxy_on_delete`.
    Delete,
}

impl Phase {
    /// The exported function.
    pub(crate) fn export(self) -> &'static str {
        match self {
            Self::Load => "_initialize",
            Self::Create => "proxy_on_context_create",
            Self::VmStart => "proxy_on_vm_start",
            Self::Configure => "proxy_on_configure",
            Self::Tick => "proxy_on_tick",
            Self::CallAnswer => "proxy_on_http_call_response",
            Self::RequestHeaders => "proxy_on_request_headers",
            Self::RequestBody => "proxy_on_request_body",
            Self::ResponseHeaders => "proxy_on_response_headers",
            Self::ResponseBody => "proxy_on_response_body",
            Self::Log => "proxy_on_log",
            Self::Done => "proxy_on_done",
            Self::Delete => "proxy_on_delete",
        }
    }

    /// The request has not gone to the upstream yet.
    pub(crate) fn is_request(self) -> bool {
        matches!(self, Self::RequestHeaders | Self::RequestBody)
    }
}
