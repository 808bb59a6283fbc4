//! `cargo run -p testkit --bin soak`: a long time at saturation with a dead Langfuse; see `testkit::bench::soak`.

use std::process::ExitCode;
use testkit::interrupt::{INTERRUPTED, interrupted};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Whichever ends first: dropping the other side ends the Envoys, wrk and the servers.
    tokio::select! {
        result = testkit::bench::soak() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::from(failure.exit_code())
            }
        },
        () = interrupted() => ExitCode::from(INTERRUPTED),
    }
}
