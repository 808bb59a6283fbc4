//! One exchange, step by step: who gets which callback when is where the two hosts differ most (hosts.md, sections 6 and
//! 10).

use crate::exchange::{Ending, Exchange, Framing, Passed, Request, Response};
use crate::law::Rule;
use crate::phase::Phase;
use crate::run::NOWHERE;
use crate::state::{Owner, Place, Stream, Subject};
use crate::worker::Worker;

/// Envoy: largest part of a body in one callback.
const ENVOY_CHUNK: usize = 1 << 20;
const PAUSE: u32 = 1;

/// An exchange that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(usize);

impl Worker {
    /// A whole exchange, with the time it takes.
    pub fn exchange(&mut self, root: usize, exchange: &Exchange) -> Passed {
        let stream = self.open(root, &exchange.request);
        self.advance_ms(exchange.think_ms);
        if exchange.response.ending == Ending::AnsweredByGateway {
            return self.fail_upstream(stream, exchange.response.status);
        }
        self.response_head(stream, &exchange.response);
        for piece in &exchange.response.pieces {
            self.advance_ms(exchange.gap_ms);
            self.response_piece(stream, piece);
        }
        self.finish(stream)
    }

    /// A request comes: its head and its whole body go through the filter.
    pub fn open(&mut self, root: usize, request: &Request) -> StreamId {
        assert!(!self.exiting, "a worker that is quitting takes no requests");
        let id = self.new_stream(root, request);
        if let Some(status) = self.refusal() {
            self.fail(id, status, "the gateway had no connection or no filter for it");
            return id;
        }
        if self.dead.is_some() || self.vm_failed {
            self.shared.borrow_mut().streams[id.0].detached = true;
            return id;
        }
        let Ok(instance) = self.instance_for_stream(root) else {
            self.fail(id, 500, "the filter could not be started");
            return id;
        };
        let context = self.instances[instance].new_context();
        let owner = Owner { instance, context, subject: Subject::Stream(id.0) };
        let root_context = {
            let mut state = self.shared.borrow_mut();
            state.contexts.insert((instance, context), owner.subject);
            state.streams[id.0].owner = owner;
            state.streams[id.0].detached = false;
            state.roots[root].context
        };
        self.callback(id, Phase::Create, &[root_context]);
        if self.on_wasmx() {
            self.wasmx_request(id)
        } else {
            self.envoy_request(id)
        }
        id
    }

    fn new_stream(&mut self, root: usize, request: &Request) -> StreamId {
        let mut state = self.shared.borrow_mut();
        let id = state.streams.len();
        let body = request.whole_body().len();
        let stream = Stream {
            owner: Owner { instance: usize::MAX, context: 0, subject: Subject::Stream(id) },
            root,
            request: request.clone(),
            request_spooled: state.wasmx().is_some_and(|wasmx| wasmx.spools(body)),
            response: None,
            chunk: Vec::new(),
            since_ns: state.now_ns,
            received: 0,
            details: "via_upstream",
            harm: Vec::new(),
            local_status: None,
            detached: true,
            lost: false,
            over: false,
        };
        state.streams.push(stream);
        StreamId(id)
    }

    /// The status with which the gateway refuses every request.
    fn refusal(&self) -> Option<u16> {
        let state = self.shared.borrow();
        match &state.personality {
            crate::Personality::WasmX(wasmx) => (state.leaked >= wasmx.worker_connections).then_some(500),
            crate::Personality::Envoy(envoy) => (self.vm_failed && envoy.fail_closed).then_some(503),
        }
    }

    fn fail(&mut self, id: StreamId, status: u16, why: &str) {
        let mut state = self.shared.borrow_mut();
        let stream = &mut state.streams[id.0];
        stream.detached = true;
        stream.local_status = Some(status);
        stream.harm.push(format!("{status}: {why}"));
    }

    fn envoy_request(&mut self, id: StreamId) {
        let (count, body) = {
            let state = self.shared.borrow();
            let request = &state.streams[id.0].request;
            (request.headers.len() as u32 + 4, request.body.clone())
        };
        let has_body = body.iter().any(|piece| !piece.is_empty());
        self.callback(id, Phase::RequestHeaders, &[count, u32::from(!has_body)]);
        if !has_body {
            return;
        }
        for piece in body.iter().flat_map(|piece| piece.chunks(ENVOY_CHUNK)) {
            self.body_callback(id, Phase::RequestBody, vec![piece.to_vec()], false);
        }
        self.body_callback(id, Phase::RequestBody, Vec::new(), true);
    }

    /// `on_request_headers` never ends the stream; the body comes whole, where there is any.
    fn wasmx_request(&mut self, id: StreamId) {
        let (count, length) = {
            let state = self.shared.borrow();
            let request = &state.streams[id.0].request;
            (request.headers.len() as u32 + 1, request.whole_body().len() as u32)
        };
        self.callback(id, Phase::RequestHeaders, &[count, 0]);
        if length > 0 {
            self.callback(id, Phase::RequestBody, &[length, 1]);
        }
    }

    /// The response begins.
    pub fn response_head(&mut self, id: StreamId, response: &Response) {
        let count = {
            let mut state = self.shared.borrow_mut();
            state.streams[id.0].response = Some(response.clone());
            response.framed_headers().len() as u32 + 1
        };
        let ends = self.is_bodyless(id) && !self.on_wasmx();
        self.callback(id, Phase::ResponseHeaders, &[count, u32::from(ends)]);
    }

    /// No body follows: by the method, by the status, or by its length.
    fn is_bodyless(&self, id: StreamId) -> bool {
        let state = self.shared.borrow();
        let stream = &state.streams[id.0];
        let Some(response) = &stream.response else { return true };
        let empty = response.framing == Framing::ContentLength && response.length() == 0;
        stream.request.method == "HEAD" || matches!(response.status, 100..=199 | 204 | 304) || empty
    }

    /// The upstream has written a piece of the body.
    pub fn response_piece(&mut self, id: StreamId, piece: &[u8]) {
        if self.is_bodyless(id) || piece.is_empty() {
            return;
        }
        self.shared.borrow_mut().streams[id.0].received += piece.len();
        if !self.on_wasmx() {
            for part in piece.chunks(ENVOY_CHUNK) {
                self.body_callback(id, Phase::ResponseBody, vec![part.to_vec()], false);
            }
            return;
        }
        for (chunk, ends) in self.wasmx_chunks(id, piece) {
            self.body_callback(id, Phase::ResponseBody, chunk, ends);
        }
    }

    /// Chains of nginx buffers. Only a response whose whole length is in one chunk is said to end with it.
    fn wasmx_chunks(&self, id: StreamId, piece: &[u8]) -> Vec<(Vec<Vec<u8>>, bool)> {
        let state = self.shared.borrow();
        let wasmx = state.wasmx().expect("asked on WasmX alone");
        let response = state.streams[id.0].response.as_ref().expect("the head came before");
        let length = (response.framing == Framing::ContentLength).then(|| response.length());
        let buffers: Vec<Vec<u8>> = piece.chunks(wasmx.response_buffer).map(<[u8]>::to_vec).collect();
        let chains = buffers.chunks(wasmx.response_chain);
        chains.map(|chain| (chain.to_vec(), Some(chain.iter().map(Vec::len).sum()) == length)).collect()
    }

    /// The exchange ends, as its response says.
    pub fn finish(&mut self, id: StreamId) -> Passed {
        let ending = self.shared.borrow().streams[id.0].response.as_ref().map(|response| response.ending);
        self.end(id, ending.unwrap_or(Ending::ClientGone))
    }

    /// The upstream refused, closed or timed out: the gateway answers with `status` in its place.
    pub fn fail_upstream(&mut self, id: StreamId, status: u16) -> Passed {
        if self.on_wasmx() {
            self.callback(id, Phase::Delete, &[]);
            let mut state = self.shared.borrow_mut();
            let stream = &mut state.streams[id.0];
            (stream.over, stream.local_status) = (true, Some(status));
            drop(state);
            return self.passed(id);
        }
        self.response_head(id, &Response::of(status, "text/plain", Vec::new(), Framing::ContentLength));
        self.end(id, Ending::AnsweredByGateway)
    }

    /// The client leaves, whatever the response says.
    pub fn abort(&mut self, id: StreamId) -> Passed {
        self.end(id, Ending::ClientGone)
    }

    fn end(&mut self, id: StreamId, ending: Ending) -> Passed {
        self.shared.borrow_mut().streams[id.0].details = match ending {
            Ending::Complete => "via_upstream",
            Ending::UpstreamCut => "upstream_reset_after_response_started{connection_termination}",
            Ending::ClientGone => "downstream_remote_disconnect",
            Ending::AnsweredByGateway => "upstream_reset_before_response_started{connection_failure}",
        };
        if ending == Ending::Complete && self.has_final_call(id) {
            self.body_callback(id, Phase::ResponseBody, Vec::new(), true);
        }
        self.crash_if_call_is_under_way(id);
        let last = if self.on_wasmx() { [Phase::Done, Phase::Log] } else { [Phase::Log, Phase::Done] };
        for phase in last {
            self.callback(id, phase, &[]);
        }
        self.callback(id, Phase::Delete, &[]);
        let instance = self.shared.borrow().streams[id.0].owner.instance;
        if self.on_wasmx() && self.main != Some(instance) && self.instances.get(instance).is_some_and(|it| it.alive) {
            // It was made for this request (hosts.md, section 5), and ends with it.
            self.throw_away(instance);
        }
        let mut state = self.shared.borrow_mut();
        state.streams[id.0].over = true;
        state.callouts.retain(|call| call.owner.subject != Subject::Stream(id.0));
        drop(state);
        self.passed(id)
    }

    /// An empty callback that ends the stream.
    fn has_final_call(&self, id: StreamId) -> bool {
        let state = self.shared.borrow();
        let stream = &state.streams[id.0];
        let Some(response) = &stream.response else { return false };
        if state.wasmx().is_none() {
            drop(state);
            return !self.is_bodyless(id);
        }
        let no_body = stream.request.method == "HEAD" || matches!(response.status, 100..=199 | 304);
        (response.status == 204 || response.framing != Framing::ContentLength) && !no_body
    }

    fn body_callback(&mut self, id: StreamId, phase: Phase, buffers: Vec<Vec<u8>>, ends: bool) {
        let length: usize = buffers.iter().map(Vec::len).sum();
        self.shared.borrow_mut().streams[id.0].chunk = buffers;
        self.callback(id, phase, &[length as u32, u32::from(ends)]);
        self.shared.borrow_mut().streams[id.0].chunk = Vec::new();
    }

    /// Runs a callback of a stream, unless the stream has none any more.
    fn callback(&mut self, id: StreamId, phase: Phase, arguments: &[u32]) {
        let (owner, skip) = {
            let state = self.shared.borrow();
            (state.streams[id.0].owner, state.streams[id.0].detached)
        };
        if self.dead.is_some() || self.vm_failed {
            return;
        }
        if skip {
            self.skipped(id, phase);
            return;
        }
        let Some(owner) = self.with_context(id, owner, phase) else { return };
        match self.run(owner, phase, arguments) {
            Ok(action) => self.acted(id, phase, action),
            Err(rule) => self.callback_failed(id, phase, rule),
        }
    }

    /// WasmX gives a stream whose context is gone a new one, but not for its deletion (ngx_proxy_wasm.c,
    /// `ngx_proxy_wasm_run_step`).
    fn with_context(&mut self, id: StreamId, owner: Owner, phase: Phase) -> Option<Owner> {
        let (lost, root) = {
            let state = self.shared.borrow();
            (state.streams[id.0].lost, state.streams[id.0].root)
        };
        if !lost {
            return Some(owner);
        }
        if phase == Phase::Delete {
            return None;
        }
        let instance = self.instance_for_stream(root).ok()?;
        let owner = Owner { instance, ..owner };
        let root_context = {
            let mut state = self.shared.borrow_mut();
            state.contexts.insert((instance, owner.context), owner.subject);
            (state.streams[id.0].owner, state.streams[id.0].lost) = (owner, false);
            state.roots[root].context
        };
        self.run(owner, Phase::Create, &[root_context]).ok()?;
        Some(owner)
    }

    /// The stream's instance trapped in another stream or tick: what is still in the request fails (ngx_proxy_wasm.c,
    /// `ngx_proxy_wasm_resume`).
    fn skipped(&mut self, id: StreamId, phase: Phase) {
        let answered = self.shared.borrow().streams[id.0].local_status.is_some();
        if phase.is_request() && self.on_wasmx() && !answered {
            self.fail(id, 500, "its instance was lost");
        }
    }

    fn callback_failed(&mut self, id: StreamId, phase: Phase, rule: Rule) {
        self.note_envoy_failure(true);
        let fails_closed = self.refusal().is_some();
        if self.dead.is_none() && (phase.is_request() || phase == Phase::Create) && (self.on_wasmx() || fails_closed) {
            let status = if self.on_wasmx() { 500 } else { 503 };
            self.fail(id, status, &format!("the filter trapped ({rule:?})"));
        }
        self.shared.borrow_mut().streams[id.0].detached = true;
    }

    /// What the callback answered, and what it did before.
    fn acted(&mut self, id: StreamId, phase: Phase, action: Option<u32>) {
        let holds =
            matches!(phase, Phase::RequestHeaders | Phase::RequestBody | Phase::ResponseHeaders | Phase::ResponseBody);
        let paused = holds && action == Some(PAUSE);
        let mut state = self.shared.borrow_mut();
        let called = state.called_now > 0;
        state.place = Place { phase, subject: Some(Subject::Stream(id.0)) };
        if phase.is_request() && called && !paused {
            state.broke(Rule::CallAndContinue, "it called and went on");
        }
        if phase.is_request() && paused && !called {
            state.broke(Rule::RequestPaused, "it paused");
        }
        if phase == Phase::ResponseBody && paused {
            state.broke(Rule::ResponseBodyPaused, "it paused");
        }
        state.place = NOWHERE;
        if paused {
            state.streams[id.0].harm.push(format!("{} paused it", phase.export()));
        }
    }

    /// WasmX: a request that ends before the answer to its call takes the worker with it.
    fn crash_if_call_is_under_way(&mut self, id: StreamId) {
        let under_way = self.shared.borrow().callouts.iter().any(|call| call.owner.subject == Subject::Stream(id.0));
        if under_way && self.on_wasmx() {
            self.dead = Some(Rule::CallAndContinue);
        }
    }

    fn passed(&self, id: StreamId) -> Passed {
        let state = self.shared.borrow();
        let stream = &state.streams[id.0];
        let mut harm = stream.harm.clone();
        harm.extend(self.dead.map(|rule| format!("the worker crashed ({rule:?})")));
        let response = stream.response.as_ref().filter(|_| stream.local_status.is_none());
        Passed {
            request_body: stream.local_status.is_none().then(|| stream.request.whole_body()),
            status: stream.local_status.or_else(|| response.map(|response| response.status)).unwrap_or_default(),
            response_body: response.map(|response| response.pieces.concat()).unwrap_or_default(),
            harm,
        }
    }
}
