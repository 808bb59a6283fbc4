//! What the upstream answers: a response, and how it travels.

use crate::cassettes::Cassette;
use crate::http1::{Headers, headers};
use serde_json::{Value, json};
use std::time::Duration;

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// HTTP status; 101 makes the connection an echo after the head.
    pub status: u16,
    /// Without those that frame the body, which `framing` adds.
    pub headers: Headers,
    /// Waited before the head is written.
    pub delay_before_head: Duration,
    /// The body. Each piece is one write (and one HTTP chunk, when chunked).
    pub pieces: Vec<Piece>,
    /// How the body's end is told.
    pub framing: Framing,
    /// What happens after the last piece.
    pub ending: Ending,
}

/// Bytes that leave with one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The bytes; an empty piece is only a delay.
    pub bytes: Vec<u8>,
    /// Waited before they are written.
    pub delay_before: Duration,
}

/// How the end of a body is told (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// `content-length`. With an ending other than `Complete` it promises one byte more than comes.
    #[default]
    ContentLength,
    /// `transfer-encoding: chunked`.
    Chunked,
    /// The connection closes.
    Close,
}

/// What happens after the last piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// The body ends as its framing says.
    #[default]
    Complete,
    /// The connection closes (FIN) with the body unfinished.
    Cut,
    /// The connection is reset (RST) with the body unfinished.
    Reset,
    /// Nothing more comes, until the client goes away.
    Hang,
}

impl Script {
    /// A JSON answer with a content length, in one piece.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = headers(&[("content-type", "application/json")]);
        Self { status, headers, pieces: vec![Piece::from(body.to_string())], ..Self::default() }
    }

    /// A chunked stream of server-sent events `data: …`, one piece each, `delay` before each.
    pub fn sse<T: AsRef<str>>(events: &[T], delay: Duration) -> Self {
        let piece = |event: &T| Piece { bytes: format!("data: {}\n\n", event.as_ref()).into(), delay_before: delay };
        Self {
            status: 200,
            headers: headers(&[("content-type", "text/event-stream")]),
            pieces: events.iter().map(piece).collect(),
            framing: Framing::Chunked,
            ..Self::default()
        }
    }

    /// Accepts a protocol upgrade to WebSocket; what comes then is echoed.
    pub fn upgrade() -> Self {
        let headers = headers(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        Self { status: 101, headers, ..Self::default() }
    }

    /// The same answer with another ending.
    pub fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// The same answer with other pieces.
    pub fn pieces(self, pieces: Vec<Piece>) -> Self {
        Self { pieces, ..self }
    }

    /// The body, all pieces together.
    pub fn body(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// What an unknown id gets, so that the mistake is seen in the client's answer.
    pub(super) fn not_scripted(id: &str) -> Self {
        Self::json(404, &json!({"error": {"message": format!("testkit upstream: no script {id:?}")}}))
    }
}

/// A recorded response in one piece.
impl From<&Cassette> for Script {
    fn from(cassette: &Cassette) -> Self {
        let response = &cassette.response;
        let is_hop = |name: &str| name.eq_ignore_ascii_case("connection");
        Self {
            status: response.status,
            headers: response.headers.iter().filter(|(name, _)| !is_hop(name)).cloned().collect(),
            pieces: vec![Piece::from(response.body.clone())],
            framing: response.framing,
            ..Self::default()
        }
    }
}

impl<T: Into<Vec<u8>>> From<T> for Piece {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), delay_before: Duration::ZERO }
    }
}
