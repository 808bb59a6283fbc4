//! The Envoy process: start, watch, end.

use super::{EnvoyBinary, EnvoyOptions, POLL};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of the log that an error shows.
const TAIL: usize = 40;
/// Envoy writes the address of its admin interface here.
pub(super) const ADMIN_FILE: &str = "admin";

/// A child process; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(
        binary: &EnvoyBinary,
        config: &Path,
        options: &EnvoyOptions,
        folder: &Path,
    ) -> Result<Self, String> {
        let log = folder.join("envoy.log");
        let mut command = Command::new(binary.path());
        command.arg("-c").arg(config).arg("--admin-address-path").arg(folder.join(ADMIN_FILE));
        command.args(["--concurrency", &options.concurrency.to_string(), "-l", &options.log_level]);
        if !options.component_log_level.is_empty() {
            command.args(["--component-log-level", &options.component_log_level]);
        }
        command.args(["--use-dynamic-base-id", "--drain-time-s", "1"]).envs(&options.environment);
        let file = File::create(&log).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.path().display()))?;
        Ok(Self { child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(super) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// SIGTERM, and SIGKILL for one that does not end in time.
    pub(super) async fn terminate(&mut self, timeout: Duration) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // A child that has not been waited for keeps its id, so this cannot reach another process.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + timeout;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.end();
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
    }

    pub(super) fn cpu_ticks(&self) -> u64 {
        // proc_pid_stat(5): the command's name may contain spaces, the fields after it are utime (14) and stime (15).
        let stat = self.proc_file("stat");
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid())).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
