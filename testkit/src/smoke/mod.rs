//! What stands around somebody's gateway while `tests/kong/smoke.sh` makes its calls: the scripted upstream, the strict
//! Langfuse stand-in, and a control server that the script asks what each of them saw.
//!
//! The script makes the calls with curl, as users do, and compares bytes; this side knows the answers and what a true
//! trace of each call says. Nothing here knows which gateway it is, but for [`Host`].

mod answers;
mod calls;
mod control;
mod expected;
mod kit;
mod whole;

use crate::server::Server;
use kit::Kit;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// How to run the kit.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the scripted LLM listens: the gateway's service leads here.
    pub upstream: SocketAddr,
    /// Where the Langfuse stand-in listens: the filter's `langfuse_endpoint`.
    pub langfuse: SocketAddr,
    /// Where the script asks; best on loopback, for it has no authentication.
    pub control: SocketAddr,
    /// Keys of the Langfuse project.
    pub public_key: String,
    /// See `public_key`; no trace may contain it.
    pub secret_key: String,
    /// Tells this run's calls from those of others: their session is `smoke-RUN-NAME`.
    pub run: String,
    /// Which gateway, where it is known.
    pub host: Host,
}

/// The gateway under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Kong 3.4 to 3.9 (WasmX).
    Kong,
    /// nginx with ngx_wasm_module.
    Nginx,
    /// Envoy.
    Envoy,
    /// Not told: what any of them may do is accepted.
    Unknown,
}

/// The servers, running until dropped.
#[derive(Debug)]
pub struct Smoke {
    _control: Server,
}

impl Smoke {
    /// Starts all servers.
    ///
    /// # Errors
    /// An address on which nothing can listen, with the reason.
    pub async fn start(options: Options) -> Result<Self, String> {
        for (what, addr) in
            [("upstream", options.upstream), ("langfuse", options.langfuse), ("control", options.control)]
        {
            // Tried before: a server that cannot listen would stop the program with less to read.
            TcpListener::bind(addr).map_err(|error| format!("--{what}: cannot listen on {addr}: {error}"))?;
        }
        let control = options.control;
        let kit = Arc::new(Kit::start(options).await);
        Ok(Self { _control: control::serve(control, kit) })
    }
}
