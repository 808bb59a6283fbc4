//! Buffers: bodies and configurations.

use wasmi::Error;

use crate::guest::{Arguments, Guest, status};
use crate::law::Rule;
use crate::log::Level;
use crate::phase::Phase;
use crate::state::State;

const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const CALL_RESPONSE_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;

/// What a buffer holds: its parts, or the status where there is none.
fn parts(state: &mut State, kind: u32) -> Result<Vec<Vec<u8>>, u32> {
    match kind {
        REQUEST_BODY => request_body(state),
        RESPONSE_BODY if state.place.phase == Phase::ResponseBody => {
            Ok(state.stream().ok_or(status::NOT_FOUND)?.chunk.clone())
        }
        RESPONSE_BODY => Err(status::NOT_FOUND),
        CALL_RESPONSE_BODY => {
            let reading = state.reading.as_ref().ok_or(status::BAD_ARGUMENT)?;
            Ok(vec![reading.body.clone()])
        }
        VM_CONFIGURATION => Ok(Vec::new()),
        PLUGIN_CONFIGURATION => {
            let root = state.root_index().and_then(|root| state.roots.get(root)).ok_or(status::NOT_FOUND)?;
            Ok(vec![root.config.clone()])
        }
        _ => Err(status::BAD_ARGUMENT),
    }
}

/// Envoy has it only while it passes; WasmX has all of it later too, in two buffers, unless it is in a file.
fn request_body(state: &mut State) -> Result<Vec<Vec<u8>>, u32> {
    let phase = state.place.phase;
    let on_wasmx = state.wasmx().is_some();
    let stream = state.stream().ok_or(status::NOT_FOUND)?;
    match (phase, on_wasmx) {
        (Phase::RequestBody, false) => Ok(stream.chunk.clone()),
        (Phase::RequestBody | Phase::Log | Phase::Done, true) if stream.request_spooled => {
            state
                .host_log(Level::Error, "cannot read request body buffered to file at \"client_body_temp/0000000001\"");
            Err(status::NOT_FOUND)
        }
        (Phase::RequestBody | Phase::Log | Phase::Done, true) => {
            let body = stream.request.whole_body();
            // What came with the head is in another buffer than the rest.
            let (first, rest) = body.split_at(body.len() / 2);
            Ok(vec![first.to_vec(), rest.to_vec()])
        }
        _ => Err(status::NOT_FOUND),
    }
}

/// `proxy_get_buffer_bytes(type, start, max, &data, &len)`.
pub(super) fn get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let (kind, start, max) = (arguments.u32(0), arguments.u32(1) as usize, arguments.u32(2) as usize);
    let found = parts(&mut guest.state_mut(), kind);
    let parts = match found {
        Ok(parts) => parts,
        Err(status) => return Ok(status),
    };
    let on_wasmx = guest.state().wasmx().is_some();
    let bytes = if on_wasmx { wasmx_part(guest, &parts, start, max)? } else { envoy_part(&parts.concat(), start, max) };
    match bytes {
        Ok(bytes) => guest.give(&bytes, arguments.u32(3), arguments.u32(4)),
        Err(status::OK) => {
            guest.write_u32(arguments.u32(3), 0)?;
            guest.write_u32(arguments.u32(4), 0)?;
            Ok(status::OK)
        }
        Err(status) => Ok(status),
    }
}

fn envoy_part(bytes: &[u8], start: usize, max: usize) -> Result<Vec<u8>, u32> {
    if start.checked_add(max).is_none_or(|end| end > u32::MAX as usize) && start > 0 {
        return Err(status::BAD_ARGUMENT);
    }
    let rest = bytes.get(start..).ok_or(status::BAD_ARGUMENT)?;
    let part = rest.get(..max.min(rest.len())).unwrap_or_default();
    // Nothing is OK, with a null pointer.
    if part.is_empty() { Err(status::OK) } else { Ok(part.to_vec()) }
}

fn wasmx_part(
    guest: &mut Guest<'_>,
    parts: &[Vec<u8>],
    start: usize,
    max: usize,
) -> Result<Result<Vec<u8>, u32>, Error> {
    let bytes = parts.concat();
    if start > 0 {
        guest.broke(Rule::BodyOffset, &format!("{max} bytes from {start}"))?;
    }
    let length = bytes.len().min(max);
    if length == 0 {
        return Ok(Err(status::NOT_FOUND));
    }
    let buffers = parts.iter().filter(|part| !part.is_empty()).count();
    if length < bytes.len() && buffers > 1 {
        guest.broke(Rule::PartOfBody, &format!("{max} of {} bytes in {buffers} buffers", bytes.len()))?;
    }
    Ok(Ok(bytes[..length].to_vec()))
}

/// `proxy_set_buffer_bytes`: a tap has no business here, so this is harm and is not carried out.
pub(super) fn set(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let kind = arguments.u32(0);
    guest.read(arguments.u32(3), arguments.u32(4))?;
    let mut state = guest.state_mut();
    match state.stream_mut().filter(|_| kind <= RESPONSE_BODY) {
        Some(stream) => {
            let which = if kind == REQUEST_BODY { "request" } else { "response" };
            stream.harm.push(format!("the filter set the {which} body"));
            Ok(status::OK)
        }
        None => Ok(status::BAD_ARGUMENT),
    }
}

/// `proxy_get_buffer_status(type, &len, &flags)`.
pub(super) fn status_of(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let found = parts(&mut guest.state_mut(), arguments.u32(0));
    match found {
        Ok(parts) => {
            guest.write_u32(arguments.u32(1), parts.concat().len() as u32)?;
            guest.write_u32(arguments.u32(2), 0)?;
            Ok(status::OK)
        }
        Err(status) => Ok(status),
    }
}
