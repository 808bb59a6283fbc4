//! What became of the calls: traced by the filter, delivered to Langfuse.

use super::calls::Made;
use super::setting::Setting;
use crate::envoy::Envoy;
use crate::langfuse::{Span, StandIn};
use crate::tree;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const OFFERED: &str = "wasmcustom.ai_tracing_traces_offered";
const SENT: &str = "wasmcustom.ai_tracing_traces_sent";
const DROPPED: &str = "wasmcustom.ai_tracing_traces_dropped";
/// The filter's clock may count in milliseconds.
const CLOCK_NS: u64 = 2_000_000;
/// Between two looks at Envoy's counters.
const POLL: Duration = Duration::from_millis(50);

/// The counts, and what is wrong.
pub(super) struct Outcome {
    made: usize,
    traced: u64,
    delivered: u64,
    problems: Vec<String>,
}

impl Outcome {
    /// Reads the traces back from the stand-in and prints them.
    pub(super) async fn read_back(made: &[Made], langfuse: &StandIn, envoy: &Envoy, timeout: Duration) -> Self {
        let spans = langfuse.spans_within(made.len(), timeout).await;
        let mut problems: Vec<String> = made.iter().filter_map(Made::failure).collect();
        let mut delivered = 0;
        for (index, (call, span)) in made.iter().zip(assign(&spans, made)).enumerate() {
            match span {
                Some(span) => {
                    delivered += 1;
                    println!("{}. {}\n{}\n", index + 1, call.title, indented(&tree::render(span)));
                }
                None => problems.push(format!("no trace of call {}, \"{}\"", index + 1, call.title)),
            }
        }
        if spans.len() > made.len() {
            problems.push(format!("{} traces of {} calls", spans.len(), made.len()));
        }
        problems.extend(langfuse.violations());
        let counters =
            counters_within(envoy, Duration::from_secs(2), |counters| sum(counters, OFFERED) >= made.len() as u64);
        let counters = counters.await;
        problems.extend(drops(&counters));
        Self { made: made.len(), traced: sum(&counters, OFFERED), delivered, problems }
    }

    /// Reads the filter's counters: nothing else tells what a real Langfuse got.
    pub(super) async fn counted(made: &[Made], envoy: &Envoy, timeout: Duration) -> Self {
        let wanted = made.len() as u64;
        let settled = |counters: &BTreeMap<String, u64>| sum(counters, SENT) + sum(counters, DROPPED) >= wanted;
        let counters = counters_within(envoy, timeout, settled).await;
        let mut problems: Vec<String> = made.iter().filter_map(Made::failure).collect();
        problems.extend(drops(&counters));
        Self { made: made.len(), traced: sum(&counters, OFFERED), delivered: sum(&counters, SENT), problems }
    }

    pub(super) fn summary(&self) -> String {
        format!("{} calls made, {} traced, {} delivered", self.made, self.traced, self.delivered)
    }

    /// `Ok` when every call was traced and delivered, and nothing else is wrong.
    pub(super) fn verdict(mut self, setting: &Setting) -> Result<(), String> {
        let wanted = self.made as u64;
        if self.traced != wanted {
            self.problems.push(format!("Envoy's counter {OFFERED} is {}, not {wanted}", self.traced));
        }
        if self.delivered != wanted {
            self.problems.push(format!("{} of {wanted} traces delivered", self.delivered));
        }
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(format!("{}\n\nEnvoy's log:\n{}", self.problems.join("\n"), setting.envoy.log())),
        }
    }
}

/// The span of each call: calls are made one after the other, so a span's start tells whose it is. Each span is given
/// once: the next call may begin within the clock's tolerance.
fn assign<'a>(spans: &'a [Span], made: &[Made]) -> Vec<Option<&'a Span>> {
    let mut left: Vec<&Span> = spans.iter().collect();
    left.sort_by_key(|span| span.start);
    let mut take = |call: &Made| left.iter().position(|span| belongs(span, call)).map(|index| left.remove(index));
    made.iter().map(&mut take).collect()
}

fn belongs(span: &Span, call: &Made) -> bool {
    let (before, after) = call.between;
    (before.saturating_sub(CLOCK_NS)..=after).contains(&span.start)
}

async fn counters_within(
    envoy: &Envoy,
    timeout: Duration,
    settled: impl Fn(&BTreeMap<String, u64>) -> bool,
) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + timeout;
    loop {
        let counters = envoy.stats().await;
        if settled(&counters) || Instant::now() >= deadline {
            return counters;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Labels are part of a counter's name in Envoy, so all that start so are counted.
fn sum(counters: &BTreeMap<String, u64>, prefix: &str) -> u64 {
    counters.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
}

fn drops(counters: &BTreeMap<String, u64>) -> Vec<String> {
    let dropped = counters.iter().filter(|(name, count)| name.starts_with(DROPPED) && **count > 0);
    dropped.map(|(name, count)| format!("{name} is {count}")).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn starts(spans: &[u64], calls: &[(u64, u64)]) -> Vec<Option<u64>> {
        let span = |start: &u64| Span { start: start * MS, ..Span::default() };
        let spans: Vec<Span> = spans.iter().map(span).collect();
        let made: Vec<Made> = calls.iter().map(|(before, after)| Made::at(before * MS, after * MS)).collect();
        assign(&spans, &made).into_iter().map(|span| span.map(|span| span.start / MS)).collect()
    }

    #[test]
    fn a_span_belongs_to_one_call() {
        assert_eq!(starts(&[20, 10], &[(10, 11), (20, 30)]), [Some(10), Some(20)], "in any order");
        assert_eq!(starts(&[10], &[(10, 11), (11, 30)]), [Some(10), None], "not again to the next, close one");
        assert_eq!(starts(&[9], &[(10, 11)]), [Some(9)], "a clock of milliseconds");
        assert_eq!(starts(&[12], &[(1, 2), (11, 30)]), [None, Some(12)]);
    }
}
