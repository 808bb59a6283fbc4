//! An HTTP/1.1 client that can send anything, count what it gets, and leave in the middle.

mod burst;
mod exchange;
mod message;

pub use burst::burst;
pub use exchange::{AbortAt, Exchange, send_and_abort, upgrade};
pub use message::{Request, Response};

use crate::http1::Connection;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Sends one request on a new connection and reads the answer to its end, or to where it breaks.
///
/// Panics when no connection can be made; everything later is in the [`Response`].
pub async fn send(addr: SocketAddr, request: Request) -> Response {
    let mut exchange = Exchange::open(addr, request).await;
    exchange.finish().await
}

/// POSTs a JSON body with `content-type: application/json` and these further headers.
pub async fn post_json(addr: SocketAddr, path: &str, body: &serde_json::Value, headers: &[(&str, &str)]) -> Response {
    send(addr, Request::post_json(path, body, headers)).await
}

async fn connect(addr: SocketAddr) -> Connection {
    let stream = TcpStream::connect(addr).await.unwrap_or_else(|error| panic!("no connection to {addr}: {error}"));
    Connection::new(stream)
}
