//! New configurations, the ends of roots and workers, and what Kong does to instances.

use crate::phase::Phase;
use crate::state::{Root, Stream};
use crate::worker::{Worker, fresh_root};

impl Worker {
    /// A new configuration for a root; the new root's index, or none where it was refused and the old one goes on. The
    /// old root goes on ticking: on Envoy until [`Worker::end_root`] (the end of its drain time), on WasmX for ever.
    pub fn replace_config(&mut self, root: usize, config: impl Into<Vec<u8>>) -> Option<usize> {
        let new = {
            let mut state = self.shared.borrow_mut();
            let fresh = fresh_root(state.roots[root].name.clone(), config.into());
            state.roots.push(fresh);
            state.roots.len() - 1
        };
        self.number_root(new);
        let instance = self.main_instance().ok()?;
        let outcome = self.configure(new, instance, true);
        let mut state = self.shared.borrow_mut();
        match outcome {
            Ok(()) => {
                state.roots[new].configured_in = Some(instance);
                Some(new)
            }
            Err(_) => {
                state.roots[new].ended = true;
                None
            }
        }
    }

    /// Envoy: the drain time of a root is over. `on_done` may keep it, until the filter calls `proxy_done`. WasmX never
    /// tells a root of its end.
    pub fn end_root(&mut self, root: usize) {
        if self.on_wasmx() || self.vm_failed || self.shared.borrow().roots[root].ended {
            return;
        }
        let Ok(owner) = self.live_root(root, None) else { return };
        let outcome = self.run(owner, Phase::Done, &[]);
        self.note_envoy_failure(outcome.is_err());
        let mut state = self.shared.borrow_mut();
        state.roots[root].kept = true;
        state.roots[root].done |= outcome != Ok(Some(0));
        drop(state);
        self.end_roots_that_are_done();
    }

    pub(crate) fn end_roots_that_are_done(&mut self) {
        let is_done = |(_, root): &(usize, &Root)| root.kept && root.done && !root.ended;
        let done: Vec<usize> =
            self.shared.borrow().roots.iter().enumerate().filter(is_done).map(|(root, _)| root).collect();
        for root in done {
            self.shared.borrow_mut().roots[root].ended = true;
            if self.vm_failed {
                continue;
            }
            if let Ok(owner) = self.live_root(root, None) {
                let _ = self.run(owner, Phase::Delete, &[]);
            }
        }
    }

    /// Runs the root's `on_configure` once more where it is, with the same text.
    pub fn configure_again(&mut self, root: usize) {
        let Ok(owner) = self.live_root(root, None) else { return };
        let size = self.shared.borrow().roots[root].config.len() as u32;
        let _ = self.run(owner, Phase::Configure, &[size]);
    }

    /// The gateway quits or reloads. Envoy tells every root ([`Worker::end_root`]); WasmX tells none: ticks and answers
    /// stop, and only streams that are open go on.
    pub fn stop(&mut self) {
        if self.on_wasmx() {
            self.exiting = true;
            self.shared.borrow_mut().callouts.clear();
            return;
        }
        let roots = self.shared.borrow().roots.len();
        (0..roots).for_each(|root| self.end_root(root));
    }

    /// Kong frees the plan of a filter chain that was changed or removed: the worker's store is destroyed with every
    /// instance in it (ngx_proxy_wasm.c, `ngx_proxy_wasm_root_destroy`; hosts.md, section 13.2). Nothing is called in the
    /// guest; calls that are under way and old timers go on.
    pub fn free_plan(&mut self) {
        assert!(self.on_wasmx(), "Envoy keeps its VM");
        let Some(main) = self.main else { return };
        let open: Vec<usize> = {
            let mut state = self.shared.borrow_mut();
            state.callouts.iter_mut().for_each(|call| call.orphaned |= call.owner.instance == main);
            let streams = state.streams.iter().enumerate();
            let is_open =
                |(_, stream): &(usize, &Stream)| stream.owner.instance == main && !stream.over && !stream.detached;
            streams.filter(is_open).map(|(index, _)| index).collect()
        };
        self.throw_away(main);
        let mut state = self.shared.borrow_mut();
        for stream in open {
            (state.streams[stream].lost, state.streams[stream].detached) = (true, false);
        }
    }
}
