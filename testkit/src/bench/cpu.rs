//! Where the machine's processor time went: to a gateway, to the load around it, to others.

/// Clock ticks per second in /proc (USER_HZ, the same on every Linux that Envoy runs on).
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time so far, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    pub(super) gateway: u64,
    /// This process (upstream and sinks) and its children that have ended (wrk).
    pub(super) load: u64,
    /// All processes, and what the hypervisor took.
    pub(super) machine: u64,
}

impl Ticks {
    pub(super) fn now(gateway: u64) -> Self {
        Self { gateway, load: own(&read("/proc/self/stat")), machine: machine(&read("/proc/stat")) }
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            gateway: self.gateway.saturating_sub(earlier.gateway),
            load: self.load.saturating_sub(earlier.load),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }

    /// What was neither the gateway nor the load.
    pub(super) fn others(self) -> u64 {
        self.machine.saturating_sub(self.gateway + self.load)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// utime, stime, cutime and cstime: proc_pid_stat(5), fields 14 to 17.
fn own(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    fields.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// user, nice, system, irq, softirq and steal: proc_stat(5); not idle and iowait, which come between.
fn machine(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let busy = fields.filter(|(index, _)| !matches!(index, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read() {
        assert_eq!(machine("cpu  1 2 4 100 200 8 16 32 0 0\ncpu0 9"), 63);
        assert_eq!(own("7 (a b) R 1 2 3 4 5 6 7 8 9 10 1 2 4 8 20"), 15);
        let ticks = Ticks { gateway: 1, load: 2, machine: 10 };
        assert_eq!(ticks.others(), 7);
    }
}
