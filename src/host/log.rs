//! Lines in the gateway's log: filtered by the root's own level, and never with content or secrets.

use super::abi::Severity;
use super::hostcalls;
use crate::config::LogLevel;

/// A line that an operator must see: at warn whatever the level is, because Kong's default hides info.
pub(super) fn operator(line: &str) {
    hostcalls::log(Severity::Warn, line);
}

/// A line of the level `level`, where `threshold` lets it through.
pub(super) fn line(threshold: LogLevel, level: LogLevel, text: impl FnOnce() -> String) {
    if level < threshold {
        return;
    }
    let severity = match level {
        LogLevel::Debug => Severity::Debug,
        LogLevel::Info => Severity::Info,
        LogLevel::Warn => Severity::Warn,
        LogLevel::Error => Severity::Error,
    };
    hostcalls::log(severity, &text());
}

/// A panic's place (its message might hold content). There should be none; should there be one, it must be found.
pub(super) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        hostcalls::log(Severity::Critical, &format!("ai-tracing: internal error{place}; please report it"));
    }));
}
