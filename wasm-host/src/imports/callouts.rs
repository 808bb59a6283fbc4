//! `proxy_http_call`.

use wasmi::Error;

use crate::callout::{Callout, is_wasmx_address};
use crate::guest::{Arguments, Guest, Stopped, status};
use crate::headers::{find, parse};
use crate::law::Rule;
use crate::personality::{Envoy, Personality};
use crate::phase::Phase;
use crate::state::{Owner, State, Subject};

const MS: u64 = 1_000_000;
/// WasmX: the timeout where the filter gives none.
const WASMX_TIMEOUT_MS: u32 = 60_000;

/// `proxy_http_call(upstream, headers, body, trailers, timeout, &token)`, each but the last two with its length.
pub(super) fn call(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let upstream = guest.read_text(arguments.u32(0), arguments.u32(1))?;
    let headers = parse(&guest.read(arguments.u32(2), arguments.u32(3))?);
    let body = guest.read(arguments.u32(4), arguments.u32(5))?;
    let timeout_ms = arguments.u32(8);
    let Some((root, owner)) = owner(guest) else { return Ok(status::BAD_ARGUMENT) };
    let (token, since_ns) = {
        let mut state = guest.state_mut();
        state.next_token += 1;
        (state.next_token, state.now_ns)
    };
    let headers_are_readable = headers.is_some();
    let headers = headers.unwrap_or_default();
    let of = guest.state().roots.get(root).map_or(0, |root| root.current);
    let (deadline_ns, orphaned) = (None, false);
    let mut callout =
        Callout { token, root, upstream, headers, body, timeout_ms, since_ns, deadline_ns, owner, of, orphaned };
    let personality = guest.state().personality.clone();
    let refused = match &personality {
        Personality::Envoy(envoy) => envoy_refusal(envoy, &callout, headers_are_readable),
        Personality::WasmX(_) => wasmx_refusal(guest, &callout)?,
    };
    if let Some(status) = refused {
        return Ok(status);
    }
    callout.deadline_ns = deadline(&guest.state(), timeout_ms);
    let mut state = guest.state_mut();
    state.callouts.push(callout);
    state.called_now += 1;
    drop(state);
    guest.write_u32(arguments.u32(9), token)?;
    Ok(status::OK)
}

fn owner(guest: &Guest<'_>) -> Option<(usize, Owner)> {
    let instance = guest.caller.data().instance;
    let state = guest.state();
    let subject = state.place.subject?;
    let root = state.root_index()?;
    let context = match subject {
        Subject::Root(root) => state.roots.get(root)?.context,
        Subject::Stream(stream) => state.streams.get(stream)?.owner.context,
    };
    Some((root, Owner { instance, context, subject }))
}

fn deadline(state: &State, timeout_ms: u32) -> Option<u64> {
    let timeout_ms = match (timeout_ms, state.wasmx()) {
        (0, Some(_)) => WASMX_TIMEOUT_MS,
        (0, None) => return None,
        (given, _) => given,
    };
    Some(state.now_ns + u64::from(timeout_ms) * MS)
}

fn lacks(callout: &Callout, names: &[&str]) -> bool {
    names.iter().any(|name| find(&callout.headers, name).is_none_or(<[u8]>::is_empty))
}

fn envoy_refusal(envoy: &Envoy, callout: &Callout, headers_are_readable: bool) -> Option<u32> {
    let unknown = envoy.clusters.as_ref().is_some_and(|clusters| !clusters.contains(&callout.upstream));
    if unknown || !headers_are_readable || lacks(callout, &[":method", ":path", ":authority"]) {
        return Some(status::BAD_ARGUMENT);
    }
    envoy.unhealthy.contains(&callout.upstream).then_some(status::INTERNAL_FAILURE)
}

/// The rules of section 2 and 4; the status of a call that is refused.
fn wasmx_refusal(guest: &mut Guest<'_>, callout: &Callout) -> Result<Option<u32>, Error> {
    let upstream = &callout.upstream;
    let place = guest.state().place;
    if place.phase == Phase::CallAnswer && matches!(place.subject, Some(Subject::Root(_))) {
        from_answer(guest, upstream)?;
    }
    if place.phase == Phase::Tick && !has_ticked_itself(&guest.state(), callout.root) {
        guest.broke(Rule::CallInForeignTick, upstream)?;
    }
    if !is_wasmx_address(upstream) || lacks(callout, &[":method", ":path"]) {
        guest.broke(Rule::CallRefused, &format!("to {upstream:?} with headers {:?}", names(callout)))?;
        return Ok(Some(status::INTERNAL_FAILURE));
    }
    let framing = ["content-length", "transfer-encoding"];
    if framing.iter().any(|name| find(&callout.headers, name).is_some()) {
        guest.broke(Rule::CallFramed, &format!("headers {:?}", names(callout)))?;
    }
    let under_way = guest.state().callouts.iter().find(|other| other.root == callout.root).map(|other| other.token);
    if let Some(other) = under_way.filter(|_| matches!(place.subject, Some(Subject::Root(_)))) {
        guest.broke(Rule::SecondCall, &format!("call {} while call {other} is under way", callout.token))?;
    }
    Ok(None)
}

/// `pwctx->step` of the root that the instance knows is a tick's: one of its own timers has ticked.
fn has_ticked_itself(state: &State, root: usize) -> bool {
    state.roots.get(root).is_none_or(|root| root.incarnations[root.current].has_ticked)
}

fn names(callout: &Callout) -> Vec<&str> {
    callout.headers.iter().map(|(name, _)| name.as_str()).collect()
}

/// The worker dies at every second one.
fn from_answer(guest: &mut Guest<'_>, upstream: &str) -> Result<(), Error> {
    let mut state = guest.state_mut();
    state.broke(Rule::CallFromAnswer, upstream);
    state.calls_from_answers += 1;
    if state.calls_from_answers.is_multiple_of(2) { Err(Error::host(Stopped(Rule::CallFromAnswer))) } else { Ok(()) }
}
