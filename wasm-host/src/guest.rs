//! The edge between a host call and its guest: arguments, memory, broken rules.

use std::cell::{Ref, RefMut};
use std::fmt;

use wasmi::errors::HostError;
use wasmi::{Caller, Error, Memory, TypedFunc};

use crate::law::{Effect, Rule};
use crate::state::{Shared, State};

/// What an instance's store holds.
pub(crate) struct Link {
    pub shared: Shared,
    pub instance: usize,
    pub memory: Option<Memory>,
    pub allocate: Option<TypedFunc<u32, u32>>,
}

/// The host stops the guest: a rule was broken, and is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped(pub Rule);

impl fmt::Display for Stopped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.0)
    }
}

impl HostError for Stopped {}

/// Statuses of the ABI.
pub(crate) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const NOT_FOUND: u32 = 1;
    pub(crate) const BAD_ARGUMENT: u32 = 2;
    pub(crate) const INTERNAL_FAILURE: u32 = 10;
    pub(crate) const UNIMPLEMENTED: u32 = 12;
}

/// Arguments of a host call.
pub(crate) struct Arguments<'a>(pub &'a [u64]);

impl Arguments<'_> {
    pub(crate) fn u32(&self, at: usize) -> u32 {
        self.u64(at) as u32
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// A guest that is in a host call.
pub(crate) struct Guest<'a> {
    pub caller: Caller<'a, Link>,
}

impl Guest<'_> {
    pub(crate) fn state(&self) -> Ref<'_, State> {
        self.caller.data().shared.borrow()
    }

    pub(crate) fn state_mut(&mut self) -> RefMut<'_, State> {
        self.caller.data().shared.borrow_mut()
    }

    fn memory(&self) -> Result<Memory, Error> {
        self.caller.data().memory.ok_or_else(|| Error::new("the guest has no memory yet"))
    }

    /// The guest's bytes at `pointer`; a trap where they are not all in its memory.
    pub(crate) fn read(&self, pointer: u32, length: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length as usize];
        self.memory()?.read(&self.caller, pointer as usize, &mut bytes).map_err(|_| out_of_bounds(pointer, length))?;
        Ok(bytes)
    }

    pub(crate) fn read_text(&self, pointer: u32, length: u32) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.read(pointer, length)?).into_owned())
    }

    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Error> {
        let memory = self.memory()?;
        let length = bytes.len() as u32;
        memory.write(&mut self.caller, pointer as usize, bytes).map_err(|_| out_of_bounds(pointer, length))
    }

    pub(crate) fn write_u32(&mut self, pointer: u32, number: u32) -> Result<(), Error> {
        self.write(pointer, &number.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, pointer: u32, number: u64) -> Result<(), Error> {
        self.write(pointer, &number.to_le_bytes())
    }

    /// Hands `bytes` over in memory that the guest allocates.
    pub(crate) fn give(&mut self, bytes: &[u8], pointer_at: u32, length_at: u32) -> Result<u32, Error> {
        let allocate = self.caller.data().allocate;
        let allocate = allocate.ok_or_else(|| Error::new("the guest has no allocator yet"))?;
        let pointer = allocate.call(&mut self.caller, bytes.len() as u32)?;
        if pointer == 0 {
            return Ok(status::INTERNAL_FAILURE);
        }
        self.write(pointer, bytes)?;
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(length_at, bytes.len() as u32)?;
        Ok(status::OK)
    }

    /// Records a broken rule, and stops the guest where the host would.
    pub(crate) fn broke(&mut self, rule: Rule, detail: &str) -> Result<(), Error> {
        if !self.state_mut().broke(rule, detail) {
            return Ok(());
        }
        match rule.effect() {
            Effect::Trap | Effect::Crash => Err(Error::host(Stopped(rule))),
            _ => Ok(()),
        }
    }
}

fn out_of_bounds(pointer: u32, length: u32) -> Error {
    Error::new(format!("{length} bytes at {pointer} are not in the guest's memory"))
}
