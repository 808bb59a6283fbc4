//! One worker of a gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::callout::{Answer, Failure};
use crate::instance::Instance;
use crate::law::{Rule, Violation};
use crate::metrics::Metrics;
use crate::module::Module;
use crate::phase::Phase;
use crate::random::Random;
use crate::run::NOWHERE;
use crate::setup::{Setup, StartError};
use crate::state::{Incarnation, Root, Shared, State, Timer};

const MS: u64 = 1_000_000;

/// A worker with its filter. Dropping it fails the test where rules were broken that the test has not taken.
pub struct Worker {
    pub(crate) module: Module,
    pub(crate) shared: Shared,
    pub(crate) instances: Vec<Instance>,
    pub(crate) main: Option<usize>,
    /// The process is dead, by this rule.
    pub(crate) dead: Option<Rule>,
    /// How often an instance trapped.
    pub(crate) traps: usize,
    /// Quitting: no ticks, no answers, no new requests.
    pub(crate) exiting: bool,
    /// Envoy: the VM has trapped, and the failure policy counts.
    pub(crate) vm_failed: bool,
}

impl Worker {
    /// Starts a worker: loads the module, and configures every root.
    ///
    /// # Errors
    ///
    /// The broken rule, where the real gateway would not come up.
    pub fn start(module: &Module, setup: Setup) -> Result<Self, StartError> {
        let on_wasmx = setup.personality.wasmx().is_some();
        let refused = module.refused(on_wasmx);
        let roots = setup.roots.len();
        let mut worker = Self {
            module: module.clone(),
            shared: Rc::new(RefCell::new(state(setup))),
            instances: Vec::new(),
            main: None,
            dead: None,
            traps: 0,
            exiting: false,
            vm_failed: false,
        };
        if let Some((rule, detail)) = refused {
            worker.shared.borrow_mut().broke(rule, &detail);
            return Err(worker.start_error());
        }
        for root in 0..roots {
            worker.number_root(root);
            if worker.start_root(root).is_err() {
                return Err(worker.start_error());
            }
        }
        Ok(worker)
    }

    fn start_root(&mut self, root: usize) -> Result<(), Rule> {
        let instance = self.main_instance()?;
        let outcome = self.configure(root, instance, true);
        if outcome.is_err_and(|rule| rule != Rule::StartRefused) {
            self.shared.borrow_mut().broke(Rule::StartRefused, "trapped");
        }
        outcome?;
        self.shared.borrow_mut().roots[root].configured_in = Some(instance);
        Ok(())
    }

    /// Numbers are small and in sequence on Envoy, hashes on WasmX (`filter->id`), where streams count from 1.
    pub(crate) fn number_root(&mut self, root: usize) {
        let context = if self.on_wasmx() {
            0x9E37_79B9_u32.wrapping_mul(root as u32 + 1) | 0x8000_0000
        } else {
            match self.main_instance() {
                Ok(instance) => self.instances[instance].new_context(),
                Err(_) => return,
            }
        };
        self.shared.borrow_mut().roots[root].context = context;
    }

    fn start_error(self) -> StartError {
        let mut violations = self.take_violations();
        let log = self.log();
        // The last one says that there was no start; what led to it comes before.
        let violation = violations.pop().expect("a start fails by a rule");
        let context = violations.iter().map(|earlier| format!("{earlier} Then: ")).collect::<String>();
        StartError { violation: Violation { context: context + &violation.context, ..violation }, log }
    }

    pub(crate) fn on_wasmx(&self) -> bool {
        self.shared.borrow().wasmx().is_some()
    }

    /// Lets time pass; ticks, and timeouts of calls that nobody has answered, come when they are due.
    pub fn advance_ms(&mut self, ms: u64) {
        let until = self.shared.borrow().now_ns + ms * MS;
        while let Some((at, event)) = self.next_event(until) {
            let now = self.shared.borrow().now_ns.max(at);
            self.shared.borrow_mut().now_ns = now;
            match event {
                Event::Tick { root, timer } => self.timer_fires(root, timer),
                Event::Timeout(token) => self.answer(token, Answer::Failed(Failure::Timeout)),
            }
        }
        self.shared.borrow_mut().now_ns = until;
    }

    fn next_event(&self, until: u64) -> Option<(u64, Event)> {
        let state = self.shared.borrow();
        let ticking = state.roots.iter().enumerate().filter(|(_, root)| !root.ended);
        let ticks = ticking.flat_map(|(root, found)| {
            found.timers.iter().enumerate().map(move |(timer, found)| (found.due_ns, Event::Tick { root, timer }))
        });
        let timeouts = state.callouts.iter().filter_map(|call| Some((call.deadline_ns?, Event::Timeout(call.token))));
        ticks.chain(timeouts).filter(|(at, _)| *at <= until).min_by_key(|(at, _)| *at)
    }

    /// Sets the clock, also back, without any event.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.shared.borrow_mut().now_ns = now_ns;
    }

    /// The simulated clock, nanoseconds since 1970.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.shared.borrow().now_ns
    }

    fn timer_fires(&mut self, root: usize, index: usize) {
        let fired = {
            let mut state = self.shared.borrow_mut();
            let now = state.now_ns;
            let timer = &mut state.roots[root].timers[index];
            timer.due_ns = now + timer.period_ns;
            *timer
        };
        self.tick(root, Some(fired));
        if self.on_wasmx() {
            let mut state = self.shared.borrow_mut();
            let root = &mut state.roots[root];
            if root.incarnations[fired.of].period_ns == 0 {
                root.timers.remove(index);
            }
        }
    }

    /// Delivers a tick now, whatever the timers say: early, or doubled.
    pub fn tick_now(&mut self, root: usize) {
        self.tick(root, None);
    }

    /// A timer ticks the instance that set it as long as that one belongs to a request; then, and for ever, the root
    /// that all share (ngx_proxy_wasm.c, `ngx_proxy_wasm_filter_tick_handler`; read, not measured).
    fn tick(&mut self, root: usize, timer: Option<Timer>) {
        let ended = self.shared.borrow().roots[root].ended;
        if self.dead.is_some() || self.exiting || self.vm_failed || ended {
            return;
        }
        let isolated = timer.map(|timer| timer.instance);
        let isolated = isolated.filter(|instance| self.main != Some(*instance) && self.instances[*instance].alive);
        let of = timer.map_or_else(|| self.shared.borrow().roots[root].current, |timer| timer.of);
        let owner = match isolated {
            Some(instance) => Ok(self.root_owner(root, instance)),
            None => self.live_root(root, Some(of)),
        };
        let Ok(owner) = owner else { return };
        {
            let mut state = self.shared.borrow_mut();
            let root = &mut state.roots[root];
            root.ticking = Some(of);
            root.incarnations[of].has_ticked = true;
        }
        let outcome = self.run(owner, Phase::Tick, &[]);
        self.note_envoy_failure(outcome.is_err());
        self.end_roots_that_are_done();
    }

    pub(crate) fn note_envoy_failure(&mut self, failed: bool) {
        self.vm_failed |= failed && !self.on_wasmx();
    }
}

enum Event {
    Tick { root: usize, timer: usize },
    Timeout(u32),
}

pub(crate) fn fresh_root(name: String, config: Vec<u8>) -> Root {
    Root {
        name,
        config,
        context: 0,
        configured_in: None,
        timers: Vec::new(),
        incarnations: vec![Incarnation::default()],
        current: 0,
        ticking: None,
        kept: false,
        done: false,
        ended: false,
    }
}

fn state(setup: Setup) -> State {
    State {
        personality: setup.personality,
        now_ns: setup.start_ns,
        start_ns: setup.start_ns,
        random: Random(setup.seed),
        environment: setup.environment,
        properties: setup.properties.into_iter().collect(),
        log: Vec::new(),
        violations: Vec::new(),
        place: NOWHERE,
        contexts: HashMap::new(),
        roots: setup.roots.into_iter().map(|(name, config)| fresh_root(name, config)).collect(),
        streams: Vec::new(),
        callouts: Vec::new(),
        next_token: 0,
        called_now: 0,
        calls_from_answers: 0,
        leaked: 0,
        reading: None,
        metrics: Metrics::default(),
        chaos: setup.chaos,
    }
}
