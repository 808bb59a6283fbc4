//! `cargo run -p testkit --bin demo`: seven LLM calls through Envoy with the filter; see `testkit::demo`.

use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    // Whichever ends first: dropping the other side ends Envoy and the servers.
    tokio::select! {
        result = testkit::demo::run() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("\n{problem}");
                ExitCode::FAILURE
            }
        },
        () = interrupted() => ExitCode::from(INTERRUPTED),
    }
}

async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
