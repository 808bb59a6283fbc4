//! One HTTP exchange as a test describes it, and what became of it.

use crate::headers::Headers;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `Host` header, which hosts show as `:authority`.
    pub authority: String,
    /// Without `Host`; names as the client writes them.
    pub headers: Headers,
    /// The body, in the pieces in which Envoy gets it (WasmX hands out the whole body at once).
    pub body: Vec<Vec<u8>>,
}

impl Request {
    /// A POST of a body in one piece.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            authority: "api.example".to_owned(),
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: vec![body.into()],
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub(crate) fn whole_body(&self) -> Vec<u8> {
        self.body.concat()
    }
}

/// How the end of a response is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    #[default]
    ContentLength,
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    #[default]
    Complete,
    /// The upstream's connection broke in the middle of the response.
    UpstreamCut,
    /// The client left.
    ClientGone,
    /// Nothing came of the upstream: the gateway answers itself. On WasmX its `error_page` makes nginx forget the filter,
    /// which is told of nothing but the deletion of its context (hosts.md, section 13.1).
    AnsweredByGateway,
}

/// A response of the upstream.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Without those that frame the body; those are added.
    pub headers: Headers,
    /// The body, as the upstream writes it.
    pub pieces: Vec<Vec<u8>>,
    /// How its end is marked.
    pub framing: Framing,
    /// How it ends.
    pub ending: Ending,
    /// Bytes that `content-length` announces; none = as many as the pieces have.
    pub announced: Option<usize>,
}

impl Response {
    /// A complete response of one piece of JSON.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::of(status, "application/json", vec![body.into()], Framing::ContentLength)
    }

    /// A complete response of that content type.
    #[must_use]
    pub fn of(status: u16, content_type: &str, pieces: Vec<Vec<u8>>, framing: Framing) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
        Self { status, headers, pieces, framing, ending: Ending::Complete, announced: None }
    }

    /// All headers, as they reach the gateway.
    pub(crate) fn framed_headers(&self) -> Headers {
        let mut headers = self.headers.clone();
        match self.framing {
            Framing::ContentLength => {
                headers.push(("content-length".to_owned(), self.length().to_string().into_bytes()));
            }
            Framing::Chunked => headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec())),
            Framing::Close => headers.push(("connection".to_owned(), b"close".to_vec())),
        }
        headers
    }

    /// The announced length.
    pub(crate) fn length(&self) -> usize {
        self.announced.unwrap_or_else(|| self.pieces.iter().map(Vec::len).sum())
    }
}

/// An exchange with its timing.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the client sends.
    pub request: Request,
    /// What the upstream answers.
    pub response: Response,
    /// Milliseconds until the response begins.
    pub think_ms: u64,
    /// Milliseconds before each further piece.
    pub gap_ms: u64,
}

impl Exchange {
    /// An upstream that thinks 400 ms and writes a piece every 20 ms.
    #[must_use]
    pub fn new(request: Request, response: Response) -> Self {
        Self { request, response, think_ms: 400, gap_ms: 20 }
    }
}

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The request body that the upstream got; none where the request did not get there.
    pub request_body: Option<Vec<u8>>,
    /// The status that the client got: the upstream's, or the gateway's own.
    pub status: u16,
    /// The body that the client got.
    pub response_body: Vec<u8>,
    /// What the filter did to the exchange; empty for a tap that harms nothing.
    pub harm: Vec<String>,
}

impl Passed {
    /// The filter changed, delayed or failed the exchange.
    #[must_use]
    pub fn harmed(&self) -> bool {
        !self.harm.is_empty()
    }
}
