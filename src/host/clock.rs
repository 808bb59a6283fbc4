//! Ticks: whose timer drives which root, and whether a call may be made then.
//!
//! Envoy has one timer a root, and ends it with its root. On WasmX timers outlive their roots: each that was set goes on
//! until the worker ends, and ticks whatever root now has the number of its own (ngx_proxy_wasm_util.c,
//! `ngx_proxy_wasm_filter_tick_handler`). So a VM there has one timer as far as possible; it drives all roots, which share
//! one call at a time.

use std::cell::Cell;
use std::rc::Rc;

use super::hostcalls;
use super::root::Root;
use super::vm::{HostKind, Vm};
use crate::export::{Change, Made, Pace};

const MS: u64 = 1_000_000;
/// Period of the tick, milliseconds, as it is set while the host is not known, and for good on WasmX.
const TICK_MS: u32 = 250;
/// The same on Envoy. One batch may leave at each.
const ENVOY_TICK_MS: u32 = 20;

/// What a VM knows of its ticks.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When a tick last did something, nanoseconds since 1970; 0 before the first.
    last_tick: Cell<u64>,
    /// A timer has been set.
    is_set: Cell<bool>,
    /// A root was started in a VM that had run.
    change: Cell<Option<Change>>,
    /// The root that may call first.
    turn: Cell<usize>,
    /// When the call under way was made, and the last one that is over.
    calling_since: Cell<Option<u64>>,
    last_call: Cell<Option<Made>>,
}

impl Clock {
    /// Sets a timer for `root`, which is being configured, if it needs one.
    pub(super) fn start(&self, vm: &Vm) -> bool {
        let is_needed = !(self.is_set.replace(true) && vm.is_wasmx());
        if is_needed {
            hostcalls::set_tick_period(TICK_MS);
        }
        is_needed
    }

    /// A root was started. On WasmX that means that the plan of a filter chain was loaded; where others had run before, an
    /// older plan may be about to be freed, and this VM with it.
    pub(super) fn root_started(&self, requests: u64) {
        if requests > 0 || self.last_tick.get() > 0 {
            self.change.set(Some(Change { at: hostcalls::now(), requests }));
        }
    }

    /// A timer has ticked in that root: early, doubled, or left over by a root that is gone, it does nothing.
    pub(super) fn tick(&self, vm: &Vm, root: &Rc<Root>) {
        let (now, last) = (hostcalls::now(), self.last_tick.get());
        if !vm.is_wasmx() {
            self.last_tick.set(now);
            root.speed_up(vm, ENVOY_TICK_MS);
            root.tick(vm, self.may_call(vm, root, now), now);
            return self.watch_calls(vm, now);
        }
        if now >= last && now - last < u64::from(TICK_MS) / 2 * MS {
            return;
        }
        self.last_tick.set(now);
        // What an instance of one request began would die with it.
        if vm.is_lasting() {
            self.tick_all(vm, root, now);
        }
    }

    /// Drives all roots, each in its turn first, by the timer of `driver`, in whose name calls are then made.
    fn tick_all(&self, vm: &Vm, driver: &Rc<Root>, now: u64) {
        let mut roots = vm.roots();
        roots.sort_unstable_by_key(|root| root.id());
        let first = self.turn.get() % roots.len().max(1);
        roots.rotate_left(first);
        let mut may_call = self.may_call(vm, driver, now);
        for (place, root) in roots.iter().enumerate() {
            root.tick(vm, may_call, now);
            if may_call && root.is_calling() {
                may_call = false;
                self.turn.set(first + place + 1);
            }
        }
        self.watch_calls(vm, now);
    }

    /// Notes when a call has begun or ended.
    pub(super) fn watch_calls(&self, vm: &Vm, now: u64) {
        match (self.calling_since.get(), vm.roots().iter().any(|root| root.is_calling())) {
            (None, true) => self.calling_since.set(Some(now)),
            (Some(since), false) => {
                self.calling_since.set(None);
                self.last_call.set(Some(Made { at: now, took: now.saturating_sub(since) }));
            }
            _ => {}
        }
    }

    /// A call may be made by the timer of `driver`.
    fn may_call(&self, vm: &Vm, driver: &Root, now: u64) -> bool {
        if vm.host() == HostKind::Envoy {
            return true;
        }
        // A clock that was set back must not keep calls away.
        let change = self.change.get().map(|change| Change { at: change.at.min(now), ..change });
        self.change.set(change);
        let pace = Pace {
            since: driver.configured_at(now),
            is_replacement: !driver.was_started(),
            change,
            requests: vm.requests(),
            last: self.last_call.get(),
        };
        self.calling_since.get().is_none() && pace.may_call(now)
    }
}
