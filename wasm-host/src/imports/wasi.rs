//! WASI preview 1, as far as modules of Rust need it: <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md>.

use wasmi::Error;

use crate::guest::{Arguments, Guest};
use crate::log::{Author, Level, LogLine};

const SUCCESS: u32 = 0;
const BAD_DESCRIPTOR: u32 = 8;
const INVALID: u32 = 28;
/// Clock ids: wall clock, monotonic clock.
const CLOCKS: u32 = 2;
const MONOTONIC: u32 = 1;

/// `args_get`, `sched_yield`: nothing to do.
pub(super) fn nothing(_: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    Ok(SUCCESS)
}

/// There are no files.
pub(super) fn bad_descriptor(_: &mut Guest<'_>, _: &Arguments<'_>) -> Result<u32, Error> {
    Ok(BAD_DESCRIPTOR)
}

/// There are no arguments.
pub(super) fn args_sizes_get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    guest.write_u32(arguments.u32(0), 0)?;
    guest.write_u32(arguments.u32(1), 0)?;
    Ok(SUCCESS)
}

/// `clock_time_get(clock, precision, &time)`.
pub(super) fn clock_time_get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let clock = arguments.u32(0);
    if clock >= CLOCKS {
        return Ok(INVALID);
    }
    let time = {
        let state = guest.state();
        let now = state.visible_now_ns();
        if clock == MONOTONIC { now.saturating_sub(state.start_ns) + 1_000_000_000 } else { now }
    };
    guest.write_u64(arguments.u32(2), time)?;
    Ok(SUCCESS)
}

fn environment(guest: &Guest<'_>) -> Vec<Vec<u8>> {
    let state = guest.state();
    state.environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// `environ_sizes_get(&count, &bytes)`.
pub(super) fn environ_sizes_get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let variables = environment(guest);
    guest.write_u32(arguments.u32(0), variables.len() as u32)?;
    guest.write_u32(arguments.u32(1), variables.concat().len() as u32)?;
    Ok(SUCCESS)
}

/// `environ_get(pointers, bytes)`.
pub(super) fn environ_get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let (mut pointer_at, mut text_at) = (arguments.u32(0), arguments.u32(1));
    for variable in environment(guest) {
        guest.write_u32(pointer_at, text_at)?;
        guest.write(text_at, &variable)?;
        pointer_at += 4;
        text_at += variable.len() as u32;
    }
    Ok(SUCCESS)
}

/// `fd_write(fd, vectors, count, &written)`: stdout and stderr go to the log.
pub(super) fn fd_write(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let level = match arguments.u32(0) {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Ok(BAD_DESCRIPTOR),
    };
    let mut bytes = Vec::new();
    for vector in 0..arguments.u32(2) {
        let at = arguments.u32(1) + vector * 8;
        let number = |bytes: Vec<u8>| u32::from_le_bytes(bytes.try_into().expect("four bytes were read"));
        let (pointer, length) = (number(guest.read(at, 4)?), number(guest.read(at + 4, 4)?));
        bytes.extend(guest.read(pointer, length)?);
    }
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    guest.state_mut().log.push(LogLine { level, author: Author::Wasi, text });
    guest.write_u32(arguments.u32(3), bytes.len() as u32)?;
    Ok(SUCCESS)
}

/// `random_get(buffer, len)`.
pub(super) fn random_get(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let bytes = guest.state_mut().random.bytes(arguments.u32(1) as usize);
    guest.write(arguments.u32(0), &bytes)?;
    Ok(SUCCESS)
}
