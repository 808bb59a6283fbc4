//! One request and its answer on one connection, step by step: dropping an [`Exchange`] is what an impatient client does.

use super::{Request, Response, connect};
use crate::http1::{Body, Connection, Framing, ResponseHead};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// Where a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortAt {
    /// After so many bytes of the request, its head included.
    RequestBytes(usize),
    /// After the whole request, without reading anything.
    BeforeResponse,
    /// After the answer's head.
    ResponseHeaders,
    /// After at least so many bytes of the answer's body.
    ResponseBytes(usize),
}

/// A request that has been sent, and its answer being read.
#[derive(Debug)]
pub struct Exchange {
    pub(super) connection: Connection,
    method: String,
    started: Instant,
    head: Option<ResponseHead>,
    left: Framing,
    body: Body,
    ended: bool,
}

impl Exchange {
    /// Connects and sends the whole request.
    pub async fn open(addr: SocketAddr, request: Request) -> Self {
        Self::on(connect(addr).await, &addr.to_string(), &request).await
    }

    /// Sends the request on an open connection. An error of the write shows when the answer is read: a server may
    /// answer and close before it has read everything.
    pub(super) async fn on(mut connection: Connection, host: &str, request: &Request) -> Self {
        let started = Instant::now();
        let _ = connection.write(&request.encode(host)).await;
        let (left, body) = (Framing::Length(0), Body::default());
        Self { connection, method: request.method.clone(), started, head: None, left, body, ended: false }
    }

    /// Reads up to the end of the answer's head and gives its status.
    pub async fn status(&mut self) -> io::Result<u16> {
        if self.head.is_none() {
            let head = self.connection.response_head().await?;
            self.left = head.framing(&self.method)?;
            self.head = Some(head);
        }
        Ok(self.head.as_ref().map_or(0, |head| head.status))
    }

    /// Reads until at least `wanted` bytes of the body are there; false when it ended before.
    pub async fn read_at_least(&mut self, wanted: usize) -> io::Result<bool> {
        self.status().await?;
        while self.body.bytes.len() < wanted && !self.ended {
            self.ended = !self.connection.some_body(&mut self.left, &mut self.body).await?;
        }
        Ok(self.body.bytes.len() >= wanted)
    }

    /// The body as far as it has been read.
    pub fn body(&self) -> &[u8] {
        &self.body.bytes
    }

    /// Reads the rest and gives the answer.
    pub async fn finish(&mut self) -> Response {
        let complete = match self.status().await {
            Ok(101) => true,
            Ok(_) => self.read_at_least(usize::MAX).await.is_ok(),
            Err(_) => false,
        };
        self.so_far(complete)
    }

    /// True when another request may follow on this connection.
    pub(super) fn keeps_alive(&self, response: &Response) -> bool {
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        response.complete && !closes && self.left != Framing::UntilClose
    }

    fn so_far(&mut self, complete: bool) -> Response {
        let body = std::mem::take(&mut self.body);
        let head = self.head.take();
        Response {
            status: head.as_ref().map_or(0, |head| head.status),
            headers: head.map(|head| head.headers).unwrap_or_default(),
            body: body.bytes,
            chunks: body.chunks,
            complete,
            time_to_first_byte: body.first_byte_at.map(|at| at - self.started),
            duration: self.started.elapsed(),
        }
    }
}

/// Sends a request and drops the connection where `at` says; gives what had arrived until then.
pub async fn send_and_abort(addr: SocketAddr, request: Request, at: AbortAt) -> Response {
    if let AbortAt::RequestBytes(count) = at {
        let bytes = request.encode(&addr.to_string());
        let _ = connect(addr).await.write(&bytes[..count.min(bytes.len())]).await;
        return Response::default();
    }
    let mut exchange = Exchange::open(addr, request).await;
    let _ = match at {
        AbortAt::ResponseHeaders => exchange.status().await.map(|_| true),
        AbortAt::ResponseBytes(count) => exchange.read_at_least(count).await,
        AbortAt::RequestBytes(_) | AbortAt::BeforeResponse => Ok(true),
    };
    exchange.so_far(false)
}

/// Asks for a protocol upgrade; after a 101 sends `payload` and reads as many bytes back.
pub async fn upgrade(addr: SocketAddr, request: Request, payload: &[u8]) -> (Response, Vec<u8>) {
    let mut exchange = Exchange::open(addr, request).await;
    let response = exchange.finish().await;
    let mut echoed = Vec::new();
    if response.status == 101 {
        exchange.connection.write(payload).await.expect("writing on the upgraded connection");
        while echoed.len() < payload.len() {
            let bytes = exchange.connection.raw().await.expect("reading on the upgraded connection");
            if bytes.is_empty() {
                break;
            }
            echoed.extend_from_slice(&bytes);
        }
    }
    (response, echoed)
}
