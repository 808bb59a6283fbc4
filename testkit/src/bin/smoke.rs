//! What `tests/kong/smoke.sh` starts beside a running gateway: scripted LLM, Langfuse stand-in, control server. See
//! `testkit::smoke`.

use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::process::ExitCode;
use testkit::interrupt::{INTERRUPTED, interrupted};
use testkit::smoke::{Host, Options, Smoke};

/// The servers around a gateway that is tried with tests/kong/smoke.sh. They run until Ctrl-C or SIGTERM.
#[derive(Parser)]
struct Arguments {
    /// Where the scripted LLM listens; the gateway's service leads here
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9101")]
    upstream: SocketAddr,
    /// Where the Langfuse stand-in listens; the filter's langfuse_endpoint
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9102")]
    langfuse: SocketAddr,
    /// Where the script asks what was seen; without authentication, so best on loopback
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9103")]
    control: SocketAddr,
    /// Keys of the Langfuse project
    #[arg(long, value_name = "PUBLIC:SECRET", default_value = "pk-lf-testkit:sk-lf-testkit-secret")]
    keys: String,
    /// Tells the calls of this run from others: their session is smoke-RUN-NAME
    #[arg(long, default_value = "0")]
    run: String,
    /// Which gateway it is
    #[arg(long, value_enum, default_value = "unknown")]
    host: Gateway,
}

#[derive(Clone, Copy, ValueEnum)]
enum Gateway {
    Kong,
    Nginx,
    Envoy,
    Unknown,
}

impl From<Gateway> for Host {
    fn from(gateway: Gateway) -> Self {
        match gateway {
            Gateway::Kong => Self::Kong,
            Gateway::Nginx => Self::Nginx,
            Gateway::Envoy => Self::Envoy,
            Gateway::Unknown => Self::Unknown,
        }
    }
}

fn options(arguments: Arguments) -> Result<Options, String> {
    let Arguments { upstream, langfuse, control, keys, run, host } = arguments;
    let pair = keys.split_once(':').filter(|(public, secret)| !public.is_empty() && !secret.is_empty());
    let (public, secret) = pair.ok_or("--keys: write PUBLIC:SECRET")?;
    let (public_key, secret_key) = (public.to_owned(), secret.to_owned());
    Ok(Options { upstream, langfuse, control, public_key, secret_key, run, host: host.into() })
}

/// A script that is killed ends nothing; then nobody needs the servers any more.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
}

#[tokio::main]
async fn main() -> ExitCode {
    end_with_parent();
    let started = match options(Arguments::parse()) {
        Ok(options) => Smoke::start(options).await,
        Err(problem) => Err(problem),
    };
    match started {
        // They live until this function ends.
        Ok(_servers) => {
            interrupted().await;
            ExitCode::from(INTERRUPTED)
        }
        Err(problem) => {
            eprintln!("smoke: {problem}");
            ExitCode::from(2)
        }
    }
}
