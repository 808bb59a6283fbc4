//! One TCP connection that speaks HTTP/1.1, in either role.

use super::body::{Body, Framing};
use super::head::{RequestHead, ResponseHead};
use bytes::{Buf, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for one read.
const READ_SIZE: usize = 64 * 1024;

/// A socket and the bytes read from it that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Takes a socket; without Nagle's algorithm, so that every write leaves by itself.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: BytesMut::new() }
    }

    /// Writes all bytes and flushes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next request's head; `None` when the peer closed between requests.
    pub(crate) async fn request_head(&mut self) -> io::Result<Option<RequestHead>> {
        loop {
            if let Some((head, length)) = RequestHead::parse(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(Some(head));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut()) };
            }
        }
    }

    /// The next response's head; interim answers (100, 103) are skipped, 101 is not.
    pub(crate) async fn response_head(&mut self) -> io::Result<ResponseHead> {
        loop {
            if let Some((head, length)) = ResponseHead::parse(&self.buffer)? {
                self.buffer.advance(length);
                if head.status < 200 && head.status != 101 {
                    continue;
                }
                return Ok(head);
            }
            if self.fill().await? == 0 {
                return Err(cut());
            }
        }
    }

    /// Reads a whole body into `body`.
    pub(crate) async fn body(&mut self, framing: Framing, body: &mut Body) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.exactly(length, body, true).await,
            Framing::Chunked => self.chunked(body).await,
            Framing::UntilClose => self.until_close(body).await,
        }
    }

    /// One chunk of a chunked body, or one read of another; false at the end. `left` is what the framing still owes.
    pub(crate) async fn some_body(&mut self, left: &mut Framing, body: &mut Body) -> io::Result<bool> {
        match left {
            Framing::Length(0) => Ok(false),
            Framing::Length(length) => {
                *length -= self.up_to(*length, body).await?;
                body.chunks += 1;
                Ok(*length > 0)
            }
            Framing::Chunked => self.chunk(body).await,
            Framing::UntilClose => self.a_read(body).await,
        }
    }

    /// Waits until the peer has gone; bytes that it still sends are thrown away.
    pub(crate) async fn gone(&mut self) {
        self.buffer.clear();
        while matches!(self.fill().await, Ok(read) if read > 0) {
            self.buffer.clear();
        }
    }

    /// The next bytes whatever they are (an upgraded connection); empty at the end.
    pub(crate) async fn raw(&mut self) -> io::Result<BytesMut> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.split())
    }

    /// Closes with RST instead of FIN.
    pub(crate) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_SIZE);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn exactly(&mut self, length: u64, body: &mut Body, count_reads: bool) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            left -= self.up_to(left, body).await?;
            body.chunks += usize::from(count_reads);
        }
        Ok(())
    }

    async fn up_to(&mut self, most: u64, body: &mut Body) -> io::Result<u64> {
        if self.buffer.is_empty() && self.fill().await? == 0 {
            return Err(cut());
        }
        let take = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        body.push(&self.buffer[..take]);
        self.buffer.advance(take);
        Ok(take as u64)
    }

    async fn chunked(&mut self, body: &mut Body) -> io::Result<()> {
        while self.chunk(body).await? {}
        Ok(())
    }

    /// Reads one chunk; false after the last one and the trailers.
    async fn chunk(&mut self, body: &mut Body) -> io::Result<bool> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if size == 0 {
            while !self.line().await?.is_empty() {}
            return Ok(false);
        }
        self.exactly(size, body, false).await?;
        body.chunks += 1;
        match self.line().await?.is_empty() {
            true => Ok(true),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "no CRLF after a chunk")),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.fill().await? == 0 {
                return Err(cut());
            }
        }
    }

    async fn until_close(&mut self, body: &mut Body) -> io::Result<()> {
        while self.a_read(body).await? {}
        Ok(())
    }

    async fn a_read(&mut self, body: &mut Body) -> io::Result<bool> {
        if self.buffer.is_empty() && self.fill().await? == 0 {
            return Ok(false);
        }
        body.push(&self.buffer);
        self.buffer.clear();
        body.chunks += 1;
        Ok(true)
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection closed in the middle of a message")
}
