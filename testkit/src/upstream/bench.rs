//! The upstream of benchmarks: fixed answers made once, so that its own cost does not hide the gateway's.

use crate::http1::encode_chunk;
use crate::server::Server;
use bytes::{Buf, BytesMut};
use memchr::memmem;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Content chunks of the streamed answer; the usage chunk and `[DONE]` come on top.
pub const STREAM_CHUNKS: usize = 100;
/// The same of the long stream.
pub const LONG_STREAM_CHUNKS: usize = 10_000;
/// From one chunk of a paced stream to the next.
const PACE: Duration = Duration::from_millis(1);

/// A running bench upstream on a thread of its own; stops when dropped.
///
/// A request whose body contains `"stream":true` (or `"stream": true`) gets a stream of 100 chunks, each one write
/// (with the header `x-bench-stream: paced`, one per millisecond, as a model would: none catches up with the one
/// before; with `x-bench-stream: whole`, all in one write: cheap enough not to be what limits a gateway; with
/// `x-bench-stream: long`, 10,000 of them in one write);
/// any other a chat answer of 1 KB.
#[derive(Debug)]
pub struct BenchUpstream {
    server: Server,
    answers: Arc<Answers>,
}

impl BenchUpstream {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let answers = Arc::new(Answers::new());
        let shared = Arc::clone(&answers);
        let server = Server::start("bench-upstream", SocketAddr::from(([127, 0, 0, 1], 0)), move |stream| {
            let answers = Arc::clone(&shared);
            async move { drop(serve(stream, &answers).await) }
        });
        Self { server, answers }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// How many paced streams have been written so far, unfinished ones as fractions.
    pub fn paced_streams(&self) -> f64 {
        self.answers.paced.load(Ordering::Relaxed) as f64 / self.answers.stream.len() as f64
    }
}

#[derive(Debug)]
struct Answers {
    whole: Vec<u8>,
    stream: Vec<Vec<u8>>,
    whole_stream: Vec<u8>,
    long_stream: Vec<u8>,
    /// Pieces of paced streams written so far.
    paced: AtomicU64,
}

impl Answers {
    fn new() -> Self {
        let stream = stream_answer(STREAM_CHUNKS);
        let long_stream = stream_answer(LONG_STREAM_CHUNKS).concat();
        Self { whole: whole_answer(), whole_stream: stream.concat(), long_stream, stream, paced: AtomicU64::new(0) }
    }
}

fn whole_answer() -> Vec<u8> {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(15);
    let body = json!({"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_795_318_664, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 25, "completion_tokens": 160, "total_tokens": 185}})
    .to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

fn stream_answer(chunks: usize) -> Vec<Vec<u8>> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let event = |data: String| encode_chunk(format!("data: {data}\n\n").as_bytes());
    let chunk = |choices: serde_json::Value, usage: serde_json::Value| {
        event(
            json!({"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_795_318_664,
            "model": "gpt-4o-mini-2024-07-18", "choices": choices, "usage": usage})
            .to_string(),
        )
    };
    let content = |index: usize| {
        let end = if index + 1 == chunks { json!("stop") } else { json!(null) };
        chunk(json!([{"index": 0, "delta": {"content": format!(" word{index}")}, "finish_reason": end}]), json!(null))
    };
    let usage = json!({"prompt_tokens": 25, "completion_tokens": chunks, "total_tokens": 25 + chunks});
    let mut end = event("[DONE]".to_owned());
    end.extend_from_slice(b"0\r\n\r\n");
    let contents = (0..chunks).map(content);
    [head].into_iter().chain(contents).chain([chunk(json!([]), usage), end]).collect()
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        let Some((head, length)) = read_request(&mut stream, &mut buffer).await? else { return Ok(()) };
        let body = &buffer[head..length];
        let streamed =
            memmem::find(body, b"\"stream\":true").or_else(|| memmem::find(body, b"\"stream\": true")).is_some();
        let pace = Pace::asked_for(&buffer[..head]);
        buffer.advance(length);
        match streamed {
            true => write_stream(&mut stream, answers, pace).await?,
            false => stream.write_all(&answers.whole).await?,
        }
    }
}

/// How a stream is written.
#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    Paced,
    Whole,
    Long,
}

impl Pace {
    fn asked_for(head: &[u8]) -> Self {
        let has = |header: &[u8]| memmem::find(head, header).is_some();
        let asked = [
            (&b"x-bench-stream: paced"[..], Self::Paced),
            (b"x-bench-stream: whole", Self::Whole),
            (b"x-bench-stream: long", Self::Long),
        ];
        asked.into_iter().find(|(header, _)| has(header)).map_or(Self::AtOnce, |(_, pace)| pace)
    }
}

async fn write_stream(stream: &mut TcpStream, answers: &Answers, pace: Pace) -> io::Result<()> {
    match pace {
        Pace::Whole => return stream.write_all(&answers.whole_stream).await,
        Pace::Long => return stream.write_all(&answers.long_stream).await,
        Pace::AtOnce | Pace::Paced => {}
    }
    for chunk in &answers.stream {
        if matches!(pace, Pace::Paced) {
            tokio::time::sleep(PACE).await;
            answers.paced.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(chunk).await?;
    }
    Ok(())
}

/// Reads one whole request into the buffer: lengths of its head and of all of it; `None` at the end.
async fn read_request(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<(usize, usize)>> {
    loop {
        if let Some(found) = whole_request(buffer) {
            return Ok(Some(found));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn whole_request(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        _ => return None,
    };
    let field = |name: &str| request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let length = match field("content-length") {
        Some(field) => std::str::from_utf8(field.value).ok()?.trim().parse().ok()?,
        None if field("transfer-encoding").is_some() => memmem::find(&bytes[head..], b"\r\n0\r\n\r\n")? + 7,
        None => 0,
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}
