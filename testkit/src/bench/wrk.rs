//! The load generator: Debian's `wrk`, one thread, closed loop.

use super::Failure;
use super::workload::Workload;
use serde_json::Value;
use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const INSTALL: &str = "apt-get install wrk";
/// The line of its output that the script writes.
const MARK: &str = "BENCH ";
/// How much longer than asked for it may take.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// What the load generator saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub(super) requests: u64,
    /// Not 2xx or 3xx, or broken sockets.
    pub(super) failed: u64,
    pub(super) seconds: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// An installed `wrk` with a script for each workload.
#[derive(Debug)]
pub(super) struct Wrk {
    scripts: TempDir,
}

impl Wrk {
    pub(super) fn prepare(scripts: TempDir) -> Result<Self, Failure> {
        if !installed() {
            install()?;
        }
        let wrk = Self { scripts };
        for workload in Workload::ALL {
            std::fs::write(wrk.script(workload), script(workload)).map_err(failed)?;
        }
        Ok(wrk)
    }

    /// Loads a gateway for that long.
    pub(super) async fn run(&self, addr: SocketAddr, workload: Workload, time: Duration) -> Result<Load, Failure> {
        let output = self.scripts.path().join("output");
        let mut command = Command::new("wrk");
        command.args(["-t1", "--timeout", "20s", "-c", &workload.connections().to_string()]);
        command.args(["-d", &format!("{}s", time.as_secs()), "-s"]).arg(self.script(workload));
        command.arg(format!("http://{addr}/v1/chat/completions"));
        command.stdin(Stdio::null()).stdout(File::create(&output).map_err(failed)?).stderr(Stdio::null());
        let mut running = Running(command.spawn().map_err(failed)?);
        running.wait(time + GRACE).await?;
        let text = std::fs::read_to_string(&output).map_err(failed)?;
        parse(&text).ok_or_else(|| Failure::Failed(format!("wrk said something else:\n{text}")))
    }

    fn script(&self, workload: Workload) -> PathBuf {
        self.scripts.path().join(format!("{}.lua", workload.name()))
    }
}

/// Killed when dropped.
struct Running(Child);

impl Running {
    async fn wait(&mut self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if self.0.try_wait().map_err(failed)?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Failure::Failed(format!("wrk did not end within {timeout:?}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("wrk: {error}"))
}

fn installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("wrk").is_file())
}

/// Only where nobody else's machine is changed: as root in CI.
fn install() -> Result<(), Failure> {
    let missing = || Failure::Missing(format!("wrk; install it with: {INSTALL}"));
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if !in_ci || !rustix::process::geteuid().is_root() {
        return Err(missing());
    }
    let script = "apt-get update >&2 && apt-get install -y --no-install-recommends wrk >&2";
    let status = Command::new("sh").args(["-c", script]).env("DEBIAN_FRONTEND", "noninteractive").status();
    if status.is_ok_and(|status| status.success()) && installed() { Ok(()) } else { Err(missing()) }
}

/// wrk sends the same bytes again and again when a script has no `request` function.
fn script(workload: Workload) -> String {
    let mut script = format!("wrk.method = \"POST\"\nwrk.body = [==[{}]==]\n", workload.body());
    for (name, value) in workload.headers() {
        let _ = writeln!(script, "wrk.headers[\"{name}\"] = \"{value}\"");
    }
    script.push_str(&format!(
        r#"function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{MARK}{{"requests":%d,"failed":%d,"us":%d,"p50":%d,"p99":%d}}\n', summary.requests,
    failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"#
    ));
    script
}

fn parse(output: &str) -> Option<Load> {
    let line = output.lines().find_map(|line| line.strip_prefix(MARK))?;
    let values: Value = serde_json::from_str(line).ok()?;
    Some(Load {
        requests: values["requests"].as_u64()?,
        failed: values["failed"].as_u64()?,
        seconds: values["us"].as_f64()? / 1e6,
        p50_ms: values["p50"].as_f64()? / 1e3,
        p99_ms: values["p99"].as_f64()? / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_read() {
        let output = "Running 3s test\nBENCH {\"requests\":30,\"failed\":1,\"us\":3000000,\"p50\":1500,\"p99\":2500}\n";
        let wanted = Load { requests: 30, failed: 1, seconds: 3.0, p50_ms: 1.5, p99_ms: 2.5 };
        assert_eq!(parse(output), Some(wanted));
        assert_eq!(parse("unable to connect"), None);
    }

    #[test]
    fn only_the_paced_stream_asks_for_pace() {
        let paced = |workload| script(workload).contains("= \"paced\"");
        assert_eq!(Workload::ALL.map(paced), [false, false, true, false]);
    }
}
