//! What is printed: a table for each workload, the ratios beside their aims, the account of the traces.

use super::gateway::{Sample, Variant};
use super::numbers::{Results, Spread};
use super::settings::{Settings, size_of};
use super::table::table;
use super::traces::Traces;
use super::workload::Workload;

const MIB: f64 = 1024.0 * 1024.0;
/// The default of the filter's `memory_budget`.
const MEMORY_BUDGET: f64 = 64.0 * MIB;
const MODULE_LIMIT: u64 = 600 * 1000;
/// A load generator this busy may be what limits the gateway.
const BUSY: f64 = 0.9;
/// Others that use this much of a core take it from the gateway or the load.
const DISTURBED: f64 = 0.1;
/// A smaller share than this is no difference to a client.
const NOTICEABLE: f64 = 0.03;

/// The whole report.
pub(super) fn render(settings: &Settings, results: &Results, traces: &[(Variant, Traces)]) -> String {
    let (rounds, seconds) = (settings.rounds, settings.duration.as_secs());
    let mut parts = vec![format!(
        "Medians of {rounds} alternating rounds, {seconds} s each; in brackets: smallest to largest. CPU of Envoy (one \
         worker), the export until the last trace has left included. Differences and ratios are taken within a round."
    )];
    for &workload in &settings.workloads {
        parts.push(format!("### {}", workload.title()));
        parts.push(workload_table(workload, results));
    }
    parts.push("### Beside the aims (design.md, section 8)".to_owned());
    parts.push(table(&aims(settings, results), false));
    parts.push("### Dead Langfuse minus live one: the client should see no difference".to_owned());
    parts.push(table(&dead_or_alive(settings, results), false));
    parts.push("### Traces".to_owned());
    let account = |(variant, traces): &(Variant, Traces)| format!("- {}: {traces}", variant.title());
    parts.push(traces.iter().map(account).collect::<Vec<_>>().join("\n"));
    parts.push(machine(results));
    parts.join("\n\n")
}

fn workload_table(workload: Workload, results: &Results) -> String {
    let mut head = vec!["", "CPU µs/request", "added µs"];
    if workload.chunks().is_some() {
        head.push("added µs/chunk");
    }
    head.extend(["requests/s", "p50 ms", "p99 ms", "Envoy core", "RSS MiB", "max MiB", "sent", "failed"]);
    let head = head.into_iter().map(str::to_owned).collect();
    let rows = Variant::ALL.map(|variant| row(workload, variant, results));
    table(&[head].into_iter().chain(rows).collect::<Vec<_>>(), true)
}

fn row(workload: Workload, variant: Variant, results: &Results) -> Vec<String> {
    let spread = |value: fn(&Sample) -> f64| results.spread(workload, variant, value);
    let added = Spread::of(results.added(workload, variant)).filter(|_| variant != Variant::Bare);
    let samples = results.of(workload, variant);
    let memory = samples.last().map_or(0, |sample| sample.memory);
    let most = samples.iter().map(|sample| sample.memory).max().unwrap_or_default();
    let mut cells = vec![variant.title().to_owned(), with_interval(spread(|sample| sample.cpu_us), 1)];
    cells.push(with_interval(added, 1));
    if let Some(chunks) = workload.chunks() {
        let per_chunk = added.map(|added| added.median / chunks as f64);
        cells.push(per_chunk.map_or("-".to_owned(), |added| format!("{added:.2}")));
    }
    cells.extend([
        with_interval(spread(|sample| sample.requests_per_second), 0),
        median(spread(|sample| sample.p50_ms), 2),
        median(spread(|sample| sample.p99_ms), 2),
        median(spread(|sample| sample.cores * 100.0), 0) + " %",
        format!("{:.0}", memory as f64 / MIB),
        format!("{:.0}", most as f64 / MIB),
        if variant.exports() { median(spread(|sample| sample.sent * 100.0), 0) + " %" } else { "-".to_owned() },
        samples.iter().map(|sample| sample.failed).sum::<u64>().to_string(),
    ]);
    cells
}

fn aims(settings: &Settings, results: &Results) -> Vec<Vec<String>> {
    use Workload::{Chat, PacedStream, Stream};
    let added = |workload| results.added_ratio(workload, Variant::LiveLangfuse);
    let rate = |workload| {
        let variants = [Variant::LiveLangfuse, Variant::NullTap];
        results.paired(workload, variants, |filter, null| filter.requests_per_second / null.requests_per_second)
    };
    let size = size_of(&settings.filter);
    let mut rows = vec![["", "measured", "aim", ""].map(str::to_owned).to_vec()];
    rows.push(at_most("added CPU of a chat, filter / null tap", added(Chat), 2.0));
    rows.push(at_most("the same, the aim after that", added(Chat), 1.5));
    rows.push(at_most("added CPU of a streamed chunk, one by one", added(PacedStream), 1.5));
    let in_one_piece = with_interval(added(Stream), 2);
    rows.push(["added CPU of a stream in one piece", &in_one_piece, "none", ""].map(str::to_owned).to_vec());
    rows.push(at_most("added CPU of a chunk, of 10,000 / of 100", long_chunk(results), 1.0));
    rows.push(at_least("requests/s at saturation, chat", rate(Chat), 0.75));
    rows.push(at_least("requests/s at saturation, stream", rate(Stream), 0.75));
    rows.extend([Variant::LiveLangfuse, Variant::DeadLangfuse].map(|variant| memory(variant, results)));
    let measured = format!("{:.0} KB", size as f64 / 1000.0);
    rows.push(aim("size of the module", measured, "≤ 600 KB".to_owned(), Some(size <= MODULE_LIMIT)));
    rows
}

/// What the filter adds for one chunk of a long stream, beside one of a short stream of the same round.
fn long_chunk(results: &Results) -> Option<Spread> {
    let per_chunk = |workload: Workload| {
        let chunks = workload.chunks().unwrap_or(1) as f64;
        results.added(workload, Variant::LiveLangfuse).into_iter().map(move |added| added / chunks)
    };
    let rounds = per_chunk(Workload::LongStream).zip(per_chunk(Workload::Stream));
    Spread::of(rounds.filter(|(_, short)| *short > 0.0).map(|(long, short)| long / short))
}

fn at_most(what: &str, measured: Option<Spread>, most: f64) -> Vec<String> {
    let meets = measured.map(|spread| spread.median <= most);
    aim(what, with_interval(measured, 2), format!("≤ {most}"), meets)
}

fn at_least(what: &str, measured: Option<Spread>, least: f64) -> Vec<String> {
    let meets = measured.map(|spread| spread.median >= least);
    aim(what, with_interval(measured, 2), format!("≥ {least}"), meets)
}

/// The budget is what a VM may hold; Envoy, V8 and the compiled module are what the null tap needs too.
fn memory(variant: Variant, results: &Results) -> Vec<String> {
    let most = |variant| results.of_variant(variant).map(|sample| sample.memory as f64).fold(0.0, f64::max);
    let over = most(variant) - most(Variant::NullTap);
    let what = format!("memory over the null tap's, {}", variant.title());
    aim(&what, format!("{:.0} MiB", over / MIB), "≤ 64 MiB".to_owned(), Some(over <= MEMORY_BUDGET))
}

fn aim(what: &str, measured: String, aim: String, meets: Option<bool>) -> Vec<String> {
    let verdict = match meets {
        Some(true) => "meets",
        Some(false) => "misses",
        None => "not measured",
    };
    vec![what.to_owned(), measured, aim, verdict.to_owned()]
}

/// A difference is one that has the same sign in every round and is not tiny.
fn dead_or_alive(settings: &Settings, results: &Results) -> Vec<Vec<String>> {
    let variants = [Variant::DeadLangfuse, Variant::LiveLangfuse];
    let mut rows = vec![["", "p50 ms", "p99 ms", "requests/s, %", "CPU µs/request", ""].map(str::to_owned).to_vec()];
    for &workload in &settings.workloads {
        let difference =
            |value: fn(&Sample) -> f64| results.paired(workload, variants, |dead, live| value(dead) - value(live));
        let (p50, p99) = (difference(|sample| sample.p50_ms), difference(|sample| sample.p99_ms));
        let rate = results.paired(workload, variants, |dead, live| {
            (dead.requests_per_second / live.requests_per_second - 1.0) * 100.0
        });
        let live = |value: fn(&Sample) -> f64| results.spread(workload, Variant::LiveLangfuse, value);
        let slower = is_more(p50, live(|sample| sample.p50_ms)) || is_more(p99, live(|sample| sample.p99_ms));
        let fewer = rate.is_some_and(|rate| rate.max < 0.0 && rate.median < -100.0 * NOTICEABLE);
        let cpu = difference(|sample| sample.cpu_us);
        rows.push(vec![
            workload.name().to_owned(),
            with_interval(p50, 2),
            with_interval(p99, 2),
            with_interval(rate, 1),
            with_interval(cpu, 1),
            if slower || fewer { "misses" } else { "meets" }.to_owned(),
        ]);
    }
    rows
}

/// Worse in every round, and noticeably; better is no harm.
fn is_more(difference: Option<Spread>, base: Option<Spread>) -> bool {
    let (Some(difference), Some(base)) = (difference, base) else { return false };
    difference.min > 0.0 && difference.median > base.median * NOTICEABLE
}

/// How far the numbers can be trusted.
fn machine(results: &Results) -> String {
    let load = Workload::ALL.map(|workload| {
        let busiest = Variant::ALL.map(|variant| results.spread(workload, variant, |sample| sample.load_cores));
        busiest.into_iter().flatten().map(|spread| spread.median).fold(0.0, f64::max)
    });
    let others = Spread::of(results.all().map(|sample| sample.other_cores));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "Of {cores} cores, wrk and the servers used up to {}; others used {}.",
        Workload::ALL
            .iter()
            .zip(load)
            .map(|(workload, load)| format!("{} ({})", percent(load), workload.name()))
            .collect::<Vec<_>>()
            .join(", "),
        others
            .map_or("-".to_owned(), |others| format!("{:.2} ({:.2} to {:.2})", others.median, others.min, others.max)),
    );
    if others.is_some_and(|others| others.median > DISTURBED) {
        text.push_str("\nThe machine was busy with something else: look at the CPU, not at requests/s and latencies.");
    }
    for (workload, _) in Workload::ALL.into_iter().zip(load).filter(|(_, load)| *load > BUSY) {
        text.push_str(&format!(
            "\nThe load generator was busy with the {}: where \"Envoy core\" is below 95 %, requests/s and latencies \
             are not Envoy's limit (CPU per request still holds).",
            workload.name()
        ));
    }
    text
}

fn percent(cores: f64) -> String {
    format!("{:.0} % of one", cores * 100.0)
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{:.digits$}", spread.median))
}

fn with_interval(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{spread:.digits$}"))
}
