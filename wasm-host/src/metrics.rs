//! Host metrics.

use std::collections::BTreeMap;

use crate::law::Rule;
use crate::personality::{Kong, WasmX};

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;
/// WasmX: longest name, with its prefix.
const NAME_MAX: usize = 256;
/// WasmX: size of the slab.
const SLAB_BYTES: usize = 5 << 20;

/// All metrics of a worker.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    all: Vec<Metric>,
    slab_used: usize,
}

#[derive(Debug)]
struct Metric {
    kind: u32,
    name: String,
    value: u64,
}

/// Why an operation did not work: a status, or a rule.
pub(crate) enum Refused {
    Status(u32),
    Rule(Rule),
}

const NOT_FOUND: Refused = Refused::Status(1);
const BAD_ARGUMENT: Refused = Refused::Status(2);

impl Metrics {
    /// Defines a metric, or finds the one of that name.
    pub(crate) fn define(&mut self, wasmx: Option<&WasmX>, kind: u32, name: String) -> Result<u32, Refused> {
        if let Some(index) = self.all.iter().position(|metric| metric.name == name) {
            return Ok(index as u32 + 1);
        }
        if kind > HISTOGRAM {
            return Err(BAD_ARGUMENT);
        }
        if let Some(wasmx) = wasmx {
            self.take_slab(wasmx, kind, &name).map_err(Refused::Rule)?;
        }
        self.all.push(Metric { kind, name, value: 0 });
        Ok(self.all.len() as u32)
    }

    /// nginx's slab hands out powers of two; a histogram has its bins besides.
    fn take_slab(&mut self, wasmx: &WasmX, kind: u32, name: &str) -> Result<(), Rule> {
        let full_name = format!("pw:{}:{name}", wasmx.filter_name).len();
        if full_name > NAME_MAX {
            return Err(Rule::MetricNameTooLong);
        }
        let bins = if kind == HISTOGRAM { 2048 } else { 0 };
        self.slab_used += (64 + full_name).next_power_of_two() + bins;
        if self.slab_used > SLAB_BYTES { Err(Rule::MetricsFull) } else { Ok(()) }
    }

    fn find(&mut self, id: u32) -> Result<&mut Metric, Refused> {
        self.all.get_mut((id as usize).wrapping_sub(1)).ok_or(NOT_FOUND)
    }

    pub(crate) fn increment(&mut self, on_wasmx: bool, id: u32, by: i64) -> Result<(), Refused> {
        let metric = self.find(id)?;
        match metric.kind {
            COUNTER if by >= 0 => metric.value += by as u64,
            GAUGE if !on_wasmx => metric.value = metric.value.wrapping_add_signed(by),
            _ if on_wasmx => return Err(Refused::Rule(Rule::MetricWrongType)),
            _ => return Err(BAD_ARGUMENT),
        }
        Ok(())
    }

    pub(crate) fn record(&mut self, on_wasmx: bool, id: u32, value: u64) -> Result<(), Refused> {
        let metric = self.find(id)?;
        match metric.kind {
            COUNTER if on_wasmx => return Err(Refused::Rule(Rule::MetricWrongType)),
            COUNTER => return Err(BAD_ARGUMENT),
            _ => metric.value = value,
        }
        Ok(())
    }

    pub(crate) fn get(&mut self, on_wasmx: bool, id: u32) -> Result<u64, Refused> {
        let metric = self.find(id)?;
        match metric.kind {
            HISTOGRAM if on_wasmx => Err(Refused::Rule(Rule::MetricWrongType)),
            HISTOGRAM => Err(BAD_ARGUMENT),
            _ => Ok(metric.value),
        }
    }

    /// Names and values (of a histogram, the last one recorded).
    pub(crate) fn values(&self) -> BTreeMap<String, u64> {
        self.all.iter().map(|metric| (metric.name.clone(), metric.value)).collect()
    }
}

/// The rule that any use of metrics breaks on this host.
pub(crate) fn forbidden(wasmx: Option<&WasmX>) -> Option<Rule> {
    let wasmx = wasmx?;
    (wasmx.version() < Kong::V3_8).then_some(Rule::MetricsTooOld)
}

/// Kong 3.9's Prometheus plugin cannot read the metrics of such a filter.
pub(crate) fn breaks_scrape(wasmx: Option<&WasmX>) -> bool {
    wasmx.is_some_and(|wasmx| wasmx.kong == Some(Kong::V3_9) && wasmx.filter_name.contains('-'))
}
