//! Log, clock, timers, contexts, properties, and calls that are answered with a status alone.

use wasmi::Error;

use crate::guest::{Arguments, Guest, status};
use crate::law::Rule;
use crate::log::{Author, Level, LogLine};
use crate::properties::{self, Property};
use crate::state::{State, Subject, Timer};

const MS: u64 = 1_000_000;

/// `proxy_log(level, text, len)`.
pub(super) fn log(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let text = guest.read_text(arguments.u32(1), arguments.u32(2))?;
    let Some(level) = Level::from_abi(arguments.u32(0)) else { return Ok(status::BAD_ARGUMENT) };
    guest.state_mut().log.push(LogLine { level, author: Author::Filter, text });
    Ok(status::OK)
}

/// `proxy_get_log_level(&level)` (Envoy alone).
pub(super) fn log_level(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    guest.write_u32(arguments.u32(0), Level::Info as u32).map(|()| status::OK)
}

/// `proxy_get_current_time_nanoseconds(&time)`.
pub(super) fn current_time(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let now = guest.state().visible_now_ns();
    guest.write_u64(arguments.u32(0), now).map(|()| status::OK)
}

/// `proxy_set_tick_period_milliseconds(period)`.
pub(super) fn set_tick_period(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let period_ms = arguments.u32(0);
    let subject = guest.state().place.subject;
    let Some(Subject::Root(root)) = subject else { return Ok(status::BAD_ARGUMENT) };
    let set_before = guest.state().roots.get(root).is_some_and(|root| root.incarnations[root.current].period_ns > 0);
    if period_ms > 0 && set_before {
        guest.broke(Rule::TickSetTwice, &format!("to {period_ms} ms"))?;
    }
    let instance = guest.caller.data().instance;
    let mut state = guest.state_mut();
    set_timer(&mut state, root, period_ms, instance);
    Ok(status::OK)
}

/// Envoy has one timer a root. WasmX adds one to those that are there; a period of 0 lets each end when it has ticked once
/// more (ngx_proxy_wasm_util.c, `ngx_proxy_wasm_filter_tick_handler`).
fn set_timer(state: &mut State, root: usize, period_ms: u32, instance: usize) {
    let period_ns = u64::from(period_ms) * MS;
    let due_ns = state.now_ns + period_ns;
    let on_wasmx = state.wasmx().is_some();
    let Some(root) = state.roots.get_mut(root) else { return };
    if !on_wasmx {
        root.timers.clear();
    }
    let of = root.current;
    root.incarnations[of].period_ns = period_ns;
    if period_ms > 0 {
        root.timers.push(Timer { period_ns, due_ns, instance, of });
    }
}

/// `proxy_set_effective_context(context)`: on WasmX without effect.
pub(super) fn set_effective_context(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let key = (guest.caller.data().instance, arguments.u32(0));
    let mut state = guest.state_mut();
    if state.wasmx().is_some() {
        return Ok(status::OK);
    }
    let Some(subject) = state.contexts.get(&key).copied() else { return Ok(status::BAD_ARGUMENT) };
    state.place.subject = Some(subject);
    Ok(status::OK)
}

/// `proxy_done()`.
pub(super) fn done(guest: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    let mut state = guest.state_mut();
    let Some(root) = state.root_index() else { return Ok(status::NOT_FOUND) };
    state.roots[root].done = true;
    Ok(status::OK)
}

/// `proxy_get_property(path, len, &data, &len)`.
pub(super) fn get_property(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let path = guest.read_text(arguments.u32(0), arguments.u32(1))?.trim_end_matches('\0').replace('\0', ".");
    let found = properties::get(&guest.state(), &path);
    match found {
        Property::Is(value) => guest.give(&value, arguments.u32(2), arguments.u32(3)),
        Property::Missing => Ok(status::NOT_FOUND),
        Property::MissingLoudly => {
            guest.state_mut().host_log(Level::Error, format!("NYI - \"{path}\" property"));
            Ok(status::NOT_FOUND)
        }
        Property::NoRequest => {
            let text = format!("cannot get scoped \"{path}\" property outside of a request");
            guest.state_mut().host_log(Level::Error, text);
            Ok(status::INTERNAL_FAILURE)
        }
        Property::Crash => {
            guest.broke(Rule::PluginNameInConfigure, &path)?;
            Ok(status::NOT_FOUND)
        }
    }
}

/// `proxy_set_property(path, len, value, len)`.
pub(super) fn set_property(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let path = guest.read_text(arguments.u32(0), arguments.u32(1))?.replace('\0', ".");
    let value = guest.read(arguments.u32(2), arguments.u32(3))?;
    let mut state = guest.state_mut();
    if !properties::may_set(&state) {
        return Ok(status::INTERNAL_FAILURE);
    }
    state.properties.insert(path, value);
    Ok(status::OK)
}

/// `proxy_send_local_response(status, …)`.
pub(super) fn send_local_response(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let mut state = guest.state_mut();
    let Some(stream) = state.stream_mut() else { return Ok(status::BAD_ARGUMENT) };
    stream.local_status = u16::try_from(arguments.u32(0)).ok();
    stream.harm.push("the filter answered in the upstream's place".to_owned());
    Ok(status::OK)
}

/// `proxy_continue_stream(type)`: this host goes on by itself after a pause, which it counts as harm.
pub(super) fn continue_stream(_: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    Ok(status::OK)
}

/// There is none.
pub(super) fn not_found(_: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    Ok(status::NOT_FOUND)
}

/// This host does not have it (Envoy does, and no tap needs it).
pub(super) fn unimplemented(_: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    Ok(status::UNIMPLEMENTED)
}
