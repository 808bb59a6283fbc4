//! Running callbacks: instances and roots are made when they are needed, and a trap or crash has its consequences.

use wasmi::Error;

use crate::guest::Stopped;
use crate::instance::Instance;
use crate::law::{Effect, Rule};
use crate::personality::Isolation;
use crate::phase::Phase;
use crate::state::{Incarnation, Owner, Place, Subject};
use crate::worker::Worker;

/// Between callbacks.
pub(crate) const NOWHERE: Place = Place { phase: Phase::Load, subject: None };

/// A worker that traps so often is given up as dead: its timers multiply with each trap (hosts.md 2.8), and a test must
/// end.
const TRAPS_MAX: usize = 100;

impl Worker {
    /// Runs a callback; its result, or the rule that ended it.
    pub(crate) fn run(&mut self, owner: Owner, phase: Phase, arguments: &[u32]) -> Result<Option<u32>, Rule> {
        {
            let mut state = self.shared.borrow_mut();
            state.place = Place { phase, subject: Some(owner.subject) };
            state.called_now = 0;
        }
        let all: Vec<u32> = [owner.context].iter().chain(arguments).copied().collect();
        let outcome = self.instances[owner.instance].call(phase.export(), &all);
        let outcome = outcome.map_err(|error| self.stopped(owner.instance, phase, &error));
        self.shared.borrow_mut().place = NOWHERE;
        outcome
    }

    /// The guest trapped, or the host stopped it: records the first, and does what the host does.
    fn stopped(&mut self, instance: usize, phase: Phase, error: &Error) -> Rule {
        let on_wasmx = self.on_wasmx();
        let by_host = error.downcast_ref::<Stopped>().map(|stopped| stopped.0);
        let rule = match (by_host, phase) {
            (Some(rule), _) if rule.effect() == Effect::Crash => rule,
            (_, Phase::Done) if on_wasmx => Rule::TrapInDone,
            (_, Phase::Tick) if on_wasmx && by_host.is_none() => Rule::TrapInTick,
            (Some(rule), _) => rule,
            (None, _) => Rule::GuestTrap,
        };
        if by_host != Some(rule) {
            self.shared.borrow_mut().broke(rule, &error.to_string());
        }
        if on_wasmx && rule.effect() == Effect::Crash {
            self.dead = Some(rule);
        }
        self.throw_away(instance);
        self.traps += 1;
        if self.traps >= TRAPS_MAX {
            self.dead = Some(rule);
        }
        rule
    }

    /// The instance is gone, with all that was in it.
    pub(crate) fn throw_away(&mut self, instance: usize) {
        self.instances[instance].alive = false;
        if self.main == Some(instance) {
            self.main = None;
        }
        let mut state = self.shared.borrow_mut();
        // What is answered later crashes the worker, unless it failed with the instance (a trap, an isolated stream).
        state.callouts.retain(|callout| callout.owner.instance != instance || callout.orphaned);
        state.streams.iter_mut().filter(|stream| stream.owner.instance == instance).for_each(|stream| {
            stream.detached = true;
        });
        for root in state.roots.iter_mut().filter(|root| root.configured_in == Some(instance)) {
            root.configured_in = None;
        }
    }

    /// Makes an instance.
    pub(crate) fn new_instance(&mut self) -> Result<usize, Rule> {
        let index = self.instances.len();
        self.shared.borrow_mut().place = NOWHERE;
        match Instance::new(&self.module, &self.shared, index) {
            Ok(instance) => {
                self.instances.push(instance);
                Ok(index)
            }
            Err(error) => {
                self.shared.borrow_mut().broke(Rule::GuestTrap, &error.to_string());
                Err(Rule::GuestTrap)
            }
        }
    }

    /// The instance of all streams and ticks; WasmX makes a new one where it was thrown away, Envoy does not.
    pub(crate) fn main_instance(&mut self) -> Result<usize, Rule> {
        if let Some(main) = self.main {
            return Ok(main);
        }
        let main = self.new_instance()?;
        self.main = Some(main);
        Ok(main)
    }

    /// The root's context in the main instance; WasmX configures it anew where the instance is a new one: as the
    /// incarnation whose timer ticks, or as a new one for a request.
    pub(crate) fn live_root(&mut self, root: usize, ticking: Option<usize>) -> Result<Owner, Rule> {
        let instance = self.main_instance()?;
        let configured_in = self.shared.borrow().roots[root].configured_in;
        if configured_in != Some(instance) {
            {
                let mut state = self.shared.borrow_mut();
                let root = &mut state.roots[root];
                match ticking {
                    Some(incarnation) => root.current = incarnation,
                    None => {
                        root.current = root.incarnations.len();
                        root.incarnations.push(Incarnation::default());
                    }
                }
            }
            self.configure(root, instance, false)?;
            self.shared.borrow_mut().roots[root].configured_in = Some(instance);
        }
        Ok(self.root_owner(root, instance))
    }

    pub(crate) fn root_owner(&self, root: usize, instance: usize) -> Owner {
        let context = self.shared.borrow().roots[root].context;
        Owner { instance, context, subject: Subject::Root(root) }
    }

    /// An instance in which a stream of `root` can run.
    pub(crate) fn instance_for_stream(&mut self, root: usize) -> Result<usize, Rule> {
        let isolation = self.shared.borrow().wasmx().map(|wasmx| wasmx.isolation).unwrap_or_default();
        if isolation == Isolation::None {
            return Ok(self.live_root(root, None)?.instance);
        }
        let instance = self.new_instance()?;
        self.configure(root, instance, false)?;
        Ok(instance)
    }

    /// Creates and configures a root's context. At the start the VM is started too: before the configuration (Envoy) or
    /// after it (ngx_proxy_wasm.c, `ngx_proxy_wasm_on_start`); a filter must not depend on the order.
    pub(crate) fn configure(&mut self, root: usize, instance: usize, start: bool) -> Result<(), Rule> {
        let owner = self.root_owner(root, instance);
        let size = {
            let mut state = self.shared.borrow_mut();
            state.contexts.insert((instance, owner.context), owner.subject);
            let root = &mut state.roots[root];
            root.incarnations[root.current].period_ns = 0;
            root.config.len() as u32
        };
        self.run(owner, Phase::Create, &[0])?;
        let mut steps = vec![(Phase::Configure, size)];
        if start {
            steps.insert(usize::from(self.on_wasmx()), (Phase::VmStart, 0));
        }
        for (phase, size) in steps {
            if self.run(owner, phase, &[size])? == Some(0) {
                let mut state = self.shared.borrow_mut();
                state.place = Place { phase, subject: Some(owner.subject) };
                state.broke(Rule::StartRefused, "answered false");
                state.place = NOWHERE;
                return Err(Rule::StartRefused);
            }
        }
        Ok(())
    }
}
