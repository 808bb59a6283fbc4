//! The gateway's log.

/// Severity of a line; nginx's names for the rest map onto these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the ABI's names")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    pub(crate) fn from_abi(number: u32) -> Option<Self> {
        let levels = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical];
        levels.get(number as usize).copied()
    }
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The filter, by `proxy_log`.
    Filter,
    /// The filter's WASI: stdout (info) or stderr (error).
    Wasi,
    /// The host, about something the filter did.
    Host,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: Level,
    /// Who wrote it.
    pub author: Author,
    /// Without the newline.
    pub text: String,
}
