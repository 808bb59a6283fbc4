//! What the filter asks of the host, safe: every status other than OK is "none", every value is bytes.

use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::ptr;

use super::abi::{self, BufferType, MapType, MetricType, OK, Severity};
use crate::headers::Header;

/// Memory that the host fills and hands over (`proxy_on_memory_allocate`).
///
/// A null pointer tells the host that there is none; it then fails the call that wanted it.
pub(super) fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        Ok(_) if size == 0 => ptr::dangling_mut(),
        // SAFETY: the layout has a size of at least 1.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => ptr::null_mut(),
    }
}

/// Calls `call` with places for a pointer and a length, and takes over the memory that it names.
fn receive(call: impl FnOnce(&mut *mut u8, &mut usize) -> u32) -> Result<Vec<u8>, u32> {
    let (mut data, mut len) = (ptr::null_mut(), 0);
    let status = call(&mut data, &mut len);
    if status != OK {
        return Err(status);
    }
    if data.is_null() || len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from `allocate(len)`, has filled it, and has given it up.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}

/// Nanoseconds since 1970, in whole microseconds: WasmX's come from a floating point number, so that the same
/// millisecond may be a little less than it was. The last time known (0 at first) where the host does not say: a time
/// that falls back to nothing would end a call that is under way.
pub(super) fn now() -> u64 {
    thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
    let mut time: u64 = 0;
    if abi::proxy_get_current_time_nanoseconds(&mut time) == OK && time != 0 {
        LAST.set(time.saturating_add(500) / 1000 * 1000);
        // WasmX has milliseconds in all versions (ngx_wasm_util.c, `ngx_wasm_wall_time`).
        FINE_CLOCK.set(FINE_CLOCK.get() || !LAST.get().is_multiple_of(1_000_000));
    }
    LAST.get()
}

thread_local!(static FINE_CLOCK: Cell<bool> = const { Cell::new(false) });

/// The clock has shown a part of a millisecond, as that of WasmX never does.
pub(super) fn has_fine_clock() -> bool {
    FINE_CLOCK.get()
}

/// Randomness of the host (weak on WasmX); none of it where the host has none.
pub(super) fn random() -> [u64; 2] {
    let mut bytes = [0; 16];
    // SAFETY: pointer and length are those of the array.
    if unsafe { abi::random_get(bytes.as_mut_ptr(), bytes.len()) } != OK {
        return [0, 0];
    }
    let both = u128::from_le_bytes(bytes);
    [u64::try_from(both >> 64).unwrap_or_default(), u64::try_from(both & u128::from(u64::MAX)).unwrap_or_default()]
}

/// A variable of the module's environment; none where it is not set, not UTF-8, or the host has no environment.
pub(super) fn variable(name: &str) -> Option<String> {
    /// Larger ones are a host's mistake.
    const LONGEST: usize = 1024 * 1024;
    let (mut count, mut size) = (0, 0);
    if abi::environ_sizes_get(&mut count, &mut size) != OK || count > LONGEST || size > LONGEST {
        return None;
    }
    let (mut pointers, mut bytes) = (vec![ptr::null_mut(); count], vec![0_u8; size]);
    // SAFETY: the host writes `count` pointers and `size` bytes, as it has just said.
    if unsafe { abi::environ_get(pointers.as_mut_ptr(), bytes.as_mut_ptr()) } != OK {
        return None;
    }
    // NAME=value, each with a zero byte behind it.
    let value = |line: &[u8]| Some(line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_owned());
    bytes.split(|byte| *byte == 0).find_map(value).and_then(|value| String::from_utf8(value).ok())
}

/// Writes a line to the gateway's log.
pub(super) fn log(severity: Severity, line: &str) {
    // SAFETY: pointer and length are those of a string.
    unsafe { abi::proxy_log(severity as u32, line.as_ptr(), line.len()) };
}

/// `size` bytes of a buffer, from its start; none where the host does not have them in memory. (WasmX ignores the start
/// and corrupts memory where less than the whole buffer is asked for.)
pub(super) fn buffer(kind: BufferType, size: usize) -> Option<Vec<u8>> {
    // SAFETY: the call writes to the two places alone.
    let bytes = receive(|data, len| unsafe { abi::proxy_get_buffer_bytes(kind as u32, 0, size, data, len) });
    bytes.ok().filter(|bytes| !bytes.is_empty())
}

/// One header (the first of that name); none where there is none.
pub(super) fn header(kind: MapType, name: &str) -> Option<Vec<u8>> {
    // SAFETY: pointer and length are those of a string; the call writes to the two places alone.
    receive(|data, len| unsafe { abi::proxy_get_header_map_value(kind as u32, name.as_ptr(), name.len(), data, len) })
        .ok()
}

/// A header map, as the host serialises it; empty where there is none.
pub(super) fn header_pairs(kind: MapType) -> Vec<u8> {
    // SAFETY: the call writes to the two places alone.
    receive(|data, len| unsafe { abi::proxy_get_header_map_pairs(kind as u32, data, len) }).unwrap_or_default()
}

/// The headers in a serialised map; those that its numbers do not cover are left out.
pub(super) fn parse_pairs(bytes: &[u8]) -> Vec<Header<'_>> {
    let number = |at: usize| {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let Some(count) = number(0).filter(|count| *count <= bytes.len() / 8) else { return Vec::new() };
    let mut headers = Vec::with_capacity(count);
    let mut at = 4 + count * 8;
    for pair in 0..count {
        let (Some(key_len), Some(value_len)) = (number(4 + pair * 8), number(8 + pair * 8)) else { break };
        // Each text ends with a zero byte that its length does not count.
        let value_at = at.saturating_add(key_len).saturating_add(1);
        let end = value_at.saturating_add(value_len);
        let (Some(key), Some(value)) = (bytes.get(at..value_at - 1), bytes.get(value_at..end)) else { break };
        headers.push((key, value));
        at = end.saturating_add(1);
    }
    headers
}

/// Sets a header of the answer whose headers these are; a host that refuses leaves it as it was.
pub(super) fn set_response_header(name: &str, value: &str) {
    // SAFETY: pointers and lengths are those of strings.
    unsafe {
        abi::proxy_replace_header_map_value(
            MapType::ResponseHeaders as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    };
}

fn serialise_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let texts: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    let mut bytes = Vec::with_capacity(4 + pairs.len() * 8 + texts);
    bytes.extend_from_slice(&number(pairs.len()));
    for (key, value) in pairs {
        bytes.extend_from_slice(&number(key.len()));
        bytes.extend_from_slice(&number(value.len()));
    }
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// A property; the status where there is none, which tells hosts apart.
pub(super) fn property(path: &[&str]) -> Result<Vec<u8>, u32> {
    let path = path.join("\0");
    // SAFETY: pointer and length are those of a string; the call writes to the two places alone.
    receive(|data, len| unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), data, len) })
}

/// No VM of this process has said `line` in the last `within_ns`; from now on this one has. On Envoy alone, whose VMs share
/// data; where it cannot tell, everybody speaks.
pub(super) fn is_first_to_say(line: &str, now: u64, within_ns: u64) -> bool {
    let mut cas = 0;
    // SAFETY: pointer and length are those of a string; the call writes to the three places alone.
    let said =
        receive(|data, len| unsafe { abi::proxy_get_shared_data(line.as_ptr(), line.len(), data, len, &mut cas) });
    let said_at = said.ok().and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    if said_at.is_some_and(|at| now.saturating_sub(at) < within_ns) {
        return false;
    }
    let bytes = now.to_le_bytes();
    // SAFETY: pointers and lengths are those of a string and an array.
    let status = unsafe { abi::proxy_set_shared_data(line.as_ptr(), line.len(), bytes.as_ptr(), bytes.len(), cas) };
    status != abi::CAS_MISMATCH
}

/// An HTTP call of the root context; its token, or the host's status.
pub(super) fn http_call(upstream: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Result<u32, u32> {
    let (headers, trailers) = (serialise_pairs(headers), serialise_pairs(&[]));
    let mut token = 0;
    // SAFETY: pointers and lengths are those of live slices; the call writes to the token alone.
    let status = unsafe {
        abi::proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &mut token,
        )
    };
    if status == OK { Ok(token) } else { Err(status) }
}

/// Sets the tick of the root context; only once, and only while it is configured.
pub(super) fn set_tick_period(period_ms: u32) {
    abi::proxy_set_tick_period_milliseconds(period_ms);
}

/// Makes `context` the one for which calls are made.
pub(super) fn set_effective_context(context: u32) {
    abi::proxy_set_effective_context(context);
}

/// Defines a metric; none where the host refuses.
pub(super) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    let mut metric = 0;
    // SAFETY: pointer and length are those of a string; the call writes to the number alone.
    let status = unsafe { abi::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut metric) };
    (status == OK).then_some(metric)
}

/// Adds to a counter metric.
pub(super) fn increment(metric: u32, by: u64) {
    abi::proxy_increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Records a value of a histogram metric.
pub(super) fn record(metric: u32, value: u64) {
    abi::proxy_record_metric(metric, value);
}

/// Tells the host that the root context, which it waits for, has ended. WasmX does not have this call.
pub(super) fn done() {
    abi::proxy_done();
}
