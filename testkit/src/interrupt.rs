//! Ending on Ctrl-C or SIGTERM: a program that stops waiting drops what it started, and with it the processes.

use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Waits for Ctrl-C or SIGTERM.
pub async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
