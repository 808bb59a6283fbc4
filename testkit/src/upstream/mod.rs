//! An LLM upstream that replays scripted answers and keeps what it received.
//!
//! The request's header `x-replay-id` says which script it gets. Everything that a real provider's network path may
//! do to a response can be scripted: where its pieces are cut, how it is framed, when it stalls and how it breaks.

mod bench;
mod pieces;
mod received;
mod respond;
mod script;

pub use bench::{BenchUpstream, LONG_STREAM_CHUNKS, STREAM_CHUNKS};
pub use pieces::pieces_at_odd_places;
pub use received::{KEPT_BODY, Received};
pub use script::{Ending, Framing, Piece, Script};

use crate::http1::{Body, Connection, header};
use crate::server::Server;
use crate::waiting::Watched;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The request header that names the script.
pub const REPLAY_HEADER: &str = "x-replay-id";

type Fallback = Box<dyn Fn(&Received) -> Option<Script> + Send + Sync>;

/// A running upstream; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    server: Server,
    state: Arc<Watched<State>>,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Arc<Script>>,
    fallback: Option<Fallback>,
    received: HashMap<String, Vec<Received>>,
    gone: HashMap<String, usize>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("State").field("received", &self.received.keys()).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts on this address.
    pub async fn start_on(bind: SocketAddr) -> Self {
        let state = Arc::<Watched<State>>::default();
        let shared = Arc::clone(&state);
        let server = Server::start("upstream", bind, move |stream| {
            let state = Arc::clone(&shared);
            async move { drop(serve(Connection::new(stream), &state).await) }
        });
        Self { server, state }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Sets the answer to requests with `x-replay-id: id`.
    pub fn script(&self, id: &str, script: Script) {
        self.state.change(|state| state.scripts.insert(id.to_owned(), Arc::new(script)));
    }

    /// Sets who answers requests that name no script; they are recorded under the id "".
    pub fn fallback(&self, answer: impl Fn(&Received) -> Option<Script> + Send + Sync + 'static) {
        self.state.change(|state| state.fallback = Some(Box::new(answer)));
    }

    /// The requests received for this id, in order.
    pub fn received(&self, id: &str) -> Vec<Received> {
        self.state.read().received.get(id).cloned().unwrap_or_default()
    }

    /// Waits until `count` requests for this id were received whole; panics when the time is over.
    pub async fn wait_for_received(&self, id: &str, count: usize, timeout: Duration) -> Vec<Received> {
        let enough = |state: &State| state.received.get(id).filter(|requests| requests.len() >= count).cloned();
        let found = self.state.wait_for(timeout, enough).await;
        found.unwrap_or_else(|| panic!("upstream: {} of {count} requests for {id:?}", self.received(id).len()))
    }

    /// Waits until the peer of an answer that hangs ([`Ending::Hang`]) or is still being written has gone away.
    pub async fn wait_until_gone(&self, id: &str, count: usize, timeout: Duration) {
        let enough = |state: &State| state.gone.get(id).filter(|gone| **gone >= count).map(|_| ());
        let found = self.state.wait_for(timeout, enough).await;
        found.unwrap_or_else(|| panic!("upstream: nobody left the answer {id:?} within {timeout:?}"));
    }

    /// Forgets the requests received, not the scripts.
    pub fn clear(&self) {
        self.state.change(|state| {
            state.received.clear();
            state.gone.clear();
        });
    }
}

async fn serve(mut connection: Connection, state: &Watched<State>) -> io::Result<()> {
    while let Some(head) = connection.request_head().await? {
        if header(&head.headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = Body::default();
        let framing = head.framing()?;
        connection.body(framing, &mut body).await?;
        let id = header(&head.headers, REPLAY_HEADER).unwrap_or_default().to_owned();
        let method = head.method.clone();
        let script = state.change(|state| state.accept(&id, Received::new(head, body.bytes)));
        let answered = respond::respond(connection, &method, &script).await;
        match answered {
            Ok(respond::After::KeepAlive(same)) => connection = *same,
            Ok(respond::After::Closed) => return Ok(()),
            Ok(respond::After::PeerGone) | Err(_) => {
                state.change(|state| *state.gone.entry(id).or_default() += 1);
                return Ok(());
            }
        }
    }
    Ok(())
}

impl State {
    /// Records a request and chooses its answer.
    fn accept(&mut self, id: &str, request: Received) -> Arc<Script> {
        let fallback = || self.fallback.as_ref().filter(|_| id.is_empty()).and_then(|answer| answer(&request));
        let script = self.scripts.get(id).cloned().or_else(|| fallback().map(Arc::new));
        let script = script.unwrap_or_else(|| Arc::new(Script::not_scripted(id)));
        self.received.entry(id.to_owned()).or_default().push(request);
        script
    }
}
