//! A real Envoy around the filter: renders a bootstrap, starts the process, asks its admin interface, ends it.
//!
//! Bootstrap: <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto>.

mod admin;
mod binary;
mod bootstrap;
mod options;
mod process;

pub use binary::EnvoyBinary;
pub use bootstrap::bootstrap;
pub use options::{Endpoint, EnvoyOptions, WasmFilter};

use process::Process;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long Envoy may take to load its modules and listen; a busy machine compiles Wasm slowly.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The listeners of an Envoy whose filters can be replaced.
const LISTENERS_FILE: &str = "listeners.json";
/// How often files and the admin interface are looked at: Envoy has no way to tell.
const POLL: Duration = Duration::from_millis(20);

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: Vec<SocketAddr>,
    folder: TempDir,
    upstream: Endpoint,
}

impl Envoy {
    /// Starts Envoy and waits until it listens; panics with the end of its log when it does not.
    pub async fn start(options: EnvoyOptions) -> Self {
        Self::try_start(options).await.unwrap_or_else(|log| panic!("Envoy did not start. The end of its log:\n{log}"))
    }

    /// Starts Envoy; the end of its log when it does not come up.
    pub async fn try_start(options: EnvoyOptions) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("envoy.json");
        let mut text = bootstrap(&options);
        if options.replaceable {
            let file = folder.path().join(LISTENERS_FILE);
            bootstrap::watch(&mut text, &file);
            let listeners = bootstrap::discovery(&options.filters, &options.upstream, free_port());
            std::fs::write(&file, listeners.to_string()).expect("writing the listeners");
        }
        std::fs::write(&config, text.to_string()).expect("writing the bootstrap");
        let mut process = Process::start(&EnvoyBinary::locate()?, &config, &options, folder.path())?;
        let started = tokio::time::timeout(START_TIMEOUT, wait_until_listening(&mut process, folder.path(), &options));
        match started.await {
            Ok(Some((admin, listeners))) => {
                Ok(Self { process, admin, listeners, folder, upstream: options.upstream.clone() })
            }
            Ok(None) => Err(process.log_tail()),
            Err(_) => Err(format!("not ready within {START_TIMEOUT:?}\n{}", process.log_tail())),
        }
    }

    /// Replaces the filters of the first listener ([`EnvoyOptions::replaceable`]) and waits until Envoy has taken or
    /// refused them; true when it took them. What runs goes on with the old ones for the drain time, one second.
    pub async fn replace_filters(&self, filters: &[WasmFilter], timeout: Duration) -> bool {
        let names = ["listener_manager.lds.update_success", "listener_manager.lds.update_rejected"];
        let count = async |name: &str| self.stat(name).await;
        let before = (count(names[0]).await, count(names[1]).await);
        let listeners = bootstrap::discovery(filters, &self.upstream, self.addr().port());
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join(LISTENERS_FILE));
        std::fs::write(&new, listeners.to_string()).expect("writing the listeners");
        // Envoy watches for another file of that name, not for another content.
        std::fs::rename(&new, &file).expect("replacing the listeners");
        let taken = async {
            loop {
                if count(names[0]).await > before.0 {
                    return true;
                }
                if count(names[1]).await > before.1 {
                    return false;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(timeout, taken).await.expect("Envoy reads its listeners anew")
    }

    /// The first listener.
    pub fn addr(&self) -> SocketAddr {
        self.listener(0)
    }

    /// The listener of `EnvoyOptions::more_listeners[index - 1]`; 0 is the first.
    pub fn listener(&self, index: usize) -> SocketAddr {
        self.listeners[index]
    }

    /// `http://127.0.0.1:PORT` of the first listener.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder with its bootstrap and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Resident memory.
    pub fn memory_bytes(&self) -> u64 {
        self.process.memory_bytes()
    }

    /// User and system time used so far, in clock ticks (1/100 s).
    pub fn cpu_ticks(&self) -> u64 {
        self.process.cpu_ticks()
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sends SIGTERM to this process and waits for its end (killed after 20 s); its log.
    pub async fn terminate(mut self) -> String {
        self.process.terminate(Duration::from_secs(20)).await;
        self.log()
    }

    /// Waits until the log contains a text; panics with the end of the log when the time is over.
    pub async fn wait_for_log(&self, text: &str, timeout: Duration) {
        let wait = async {
            while !self.log().contains(text) {
                tokio::time::sleep(POLL).await;
            }
        };
        let found = tokio::time::timeout(timeout, wait).await;
        assert!(found.is_ok(), "no {text:?} in Envoy's log within {timeout:?}:\n{}", self.process.log_tail());
    }
}

/// A port that was free a moment ago: a watched listener must keep its address.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    socket.local_addr().expect("a bound socket").port()
}

/// Admin and listener addresses, or `None` when the process ended.
async fn wait_until_listening(
    process: &mut Process,
    folder: &Path,
    options: &EnvoyOptions,
) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let wanted = 1 + options.more_listeners.len();
    while process.is_running() {
        if let Some(found) = admin::listening(folder, wanted).await {
            return Some(found);
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

/// Runs `envoy --mode validate`: its output, `Err` when it refuses the file.
pub fn validate(config: &Path) -> Result<String, String> {
    let mut command = std::process::Command::new(EnvoyBinary::locate()?.path());
    command.args(["--mode", "validate", "-l", "warning", "--use-dynamic-base-id", "-c"]).arg(config);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(text) }
}
