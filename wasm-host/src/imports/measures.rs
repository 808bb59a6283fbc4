//! Metrics.

use wasmi::Error;

use crate::guest::{Arguments, Guest, status};
use crate::law::Rule;
use crate::metrics::{self, Refused};

/// Turns the outcome of an operation into a status, or into a broken rule.
fn settle<T>(guest: &mut Guest<'_>, outcome: Result<T, Refused>, detail: &str) -> Result<Result<T, u32>, Error> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(Refused::Status(status)) => Ok(Err(status)),
        Err(Refused::Rule(rule)) => {
            guest.broke(rule, detail)?;
            Ok(Err(status::INTERNAL_FAILURE))
        }
    }
}

fn check_version(guest: &mut Guest<'_>, detail: &str) -> Result<(), Error> {
    let rule = metrics::forbidden(guest.state().wasmx());
    rule.map_or(Ok(()), |rule| guest.broke(rule, detail))
}

/// `proxy_define_metric(type, name, name_len, &id)`.
pub(super) fn define(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let name = guest.read_text(arguments.u32(1), arguments.u32(2))?;
    check_version(guest, &name)?;
    if metrics::breaks_scrape(guest.state().wasmx()) {
        guest.broke(Rule::MetricBreaksScrape, &name)?;
    }
    let outcome = {
        let mut state = guest.state_mut();
        let wasmx = state.wasmx().cloned();
        state.metrics.define(wasmx.as_ref(), arguments.u32(0), name.clone())
    };
    match settle(guest, outcome, &name)? {
        Ok(id) => guest.write_u32(arguments.u32(3), id).map(|()| status::OK),
        Err(status) => Ok(status),
    }
}

/// `proxy_increment_metric(id, by)`.
pub(super) fn increment(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let (id, by) = (arguments.u32(0), arguments.u64(1) as i64);
    let detail = format!("increment metric {id} by {by}");
    check_version(guest, &detail)?;
    let on_wasmx = guest.state().wasmx().is_some();
    let outcome = guest.state_mut().metrics.increment(on_wasmx, id, by);
    Ok(settle(guest, outcome, &detail)?.err().unwrap_or(status::OK))
}

/// `proxy_record_metric(id, value)`.
pub(super) fn record(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let (id, value) = (arguments.u32(0), arguments.u64(1));
    let detail = format!("record {value} to metric {id}");
    check_version(guest, &detail)?;
    let on_wasmx = guest.state().wasmx().is_some();
    let outcome = guest.state_mut().metrics.record(on_wasmx, id, value);
    Ok(settle(guest, outcome, &detail)?.err().unwrap_or(status::OK))
}

/// `proxy_get_metric(id, &value)`.
pub(super) fn get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let id = arguments.u32(0);
    let detail = format!("get metric {id}");
    check_version(guest, &detail)?;
    let on_wasmx = guest.state().wasmx().is_some();
    let outcome = guest.state_mut().metrics.get(on_wasmx, id);
    match settle(guest, outcome, &detail)? {
        Ok(value) => guest.write_u64(arguments.u32(1), value).map(|()| status::OK),
        Err(status) => Ok(status),
    }
}
