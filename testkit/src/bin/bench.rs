//! `cargo run -p testkit --bin bench`: what the filter costs, beside bare Envoy and a null tap; see `testkit::bench`.

use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Whichever ends first: dropping the other side ends the Envoys, wrk and the servers.
    tokio::select! {
        result = testkit::bench::run() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::from(failure.exit_code())
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
