//! One coding of a body. Its first bytes tell what it is; what a header says only tells where they do not.

use super::inflate::Inflater;
use super::zstd::{Zstd, is_skippable};
use super::{Coding, DecodeError, Quota};
use crate::budget::Lease;

/// Bytes that tell what a body is.
const START: usize = 4;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Layer {
    /// What a header says.
    said: Option<Coding>,
    state: State,
    lease: Lease,
}

enum State {
    /// The first bytes, until they tell.
    Start(Vec<u8>),
    Plain,
    Gzip(Box<Inflater>),
    Deflate(Box<Inflater>),
    Zstd(Box<Zstd>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.coding().map_or("plain", Coding::name))
    }
}

impl State {
    fn coding(&self) -> Option<Coding> {
        match self {
            Self::Start(_) | Self::Plain => None,
            Self::Gzip(_) => Some(Coding::Gzip),
            Self::Deflate(_) => Some(Coding::Deflate),
            Self::Zstd(_) => Some(Coding::Zstd),
        }
    }
}

/// What the first bytes tell.
#[derive(Debug, PartialEq)]
enum Look {
    More,
    Plain,
    Gzip,
    Deflate { zlib: bool },
    Zstd,
}

impl Layer {
    pub(super) fn new(said: Option<Coding>, lease: Lease) -> Self {
        Self { said, state: State::Start(Vec::new()), lease }
    }

    /// Takes the next bytes; calls `on_bytes` with what they decode to.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        quota: &Quota,
        on_bytes: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DecodeError> {
        let State::Start(start) = &mut self.state else { return self.decode(bytes, quota, on_bytes) };
        let (taken, rest) = bytes.split_at(START.saturating_sub(start.len()).min(bytes.len()));
        start.extend_from_slice(taken);
        let start = std::mem::take(start);
        match look(self.said, &start) {
            Look::More => {
                self.state = State::Start(start);
                return Ok(());
            }
            known => self.state = self.begin(&known),
        }
        self.decode(&start, quota, on_bytes)?;
        self.decode(rest, quota, on_bytes)
    }

    /// No more will come.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub(super) fn finish(&mut self, quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        match &mut self.state {
            State::Start(start) if !start.is_empty() => {
                let start = std::mem::take(start);
                // The shortest deflated body has two bytes.
                let is_deflated = self.said == Some(Coding::Deflate);
                self.state = self.begin(if is_deflated { &Look::Deflate { zlib: false } } else { &Look::Plain });
                self.decode(&start, quota, on_bytes)
            }
            State::Zstd(zstd) => zstd.finish(quota, on_bytes),
            _ => Ok(()),
        }
    }

    fn begin(&self, look: &Look) -> State {
        let lease = self.lease.another();
        match look {
            Look::Gzip => State::Gzip(Box::new(Inflater::gzip(lease))),
            Look::Deflate { zlib } => State::Deflate(Box::new(Inflater::deflate(*zlib, lease))),
            Look::Zstd => State::Zstd(Box::new(Zstd::new(lease))),
            Look::More | Look::Plain => State::Plain,
        }
    }

    fn decode(&mut self, bytes: &[u8], quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        match &mut self.state {
            State::Gzip(inflater) | State::Deflate(inflater) => inflater.push(bytes, quota, on_bytes),
            State::Zstd(zstd) => zstd.push(bytes, quota, on_bytes),
            State::Plain | State::Start(_) if bytes.is_empty() => Ok(()),
            State::Plain | State::Start(_) => {
                on_bytes(bytes);
                Ok(())
            }
        }
    }

    /// See [`super::BodyDecoder::is_late`].
    pub(super) fn is_late(&self) -> bool {
        matches!(self.state, State::Zstd(_))
    }

    /// What the header says and the body is not.
    pub(super) fn mismatch(&self) -> Option<String> {
        let is = self.state.coding();
        if is == self.said || matches!(self.state, State::Start(_)) {
            return None;
        }
        let (is, said) = (is.map_or("not compressed", Coding::name), self.said.map_or("nothing", Coding::name));
        Some(format!("content-encoding says {said}; the body is {is}"))
    }
}

fn look(said: Option<Coding>, start: &[u8]) -> Look {
    const GZIP: [u8; 3] = [0x1F, 0x8B, 8];
    const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    if start.starts_with(&GZIP) {
        return Look::Gzip;
    }
    if start.starts_with(&ZSTD) || (said == Some(Coding::Zstd) && is_skippable(start)) {
        return Look::Zstd;
    }
    let may_become = GZIP.starts_with(start) || ZSTD.starts_with(start);
    match said {
        _ if may_become => Look::More,
        Some(Coding::Zstd) if start.len() < START && matches!(start, [0x50..=0x5F, ..]) => Look::More,
        Some(Coding::Deflate) if start.len() < START => Look::More,
        Some(Coding::Deflate) if is_zlib(start) => Look::Deflate { zlib: true },
        Some(Coding::Deflate) if !is_text(start) => Look::Deflate { zlib: false },
        _ => Look::Plain,
    }
}

/// A zlib header (RFC 1950 section 2.2): the method, the window, a check of both bytes, no dictionary.
fn is_zlib(start: &[u8]) -> bool {
    let [cmf, flags, ..] = start else { return false };
    let check = u16::from_be_bytes([*cmf, *flags]);
    cmf & 0x0F == 8 && cmf >> 4 <= 7 && check.is_multiple_of(31) && flags & 0x20 == 0
}

/// The start of JSON, or of an event stream. Bare deflated data may begin like that in theory.
fn is_text(start: &[u8]) -> bool {
    let white = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    match start {
        [b'{', next, ..] => white(next) || matches!(next, b'"' | b'}'),
        [b'[', next, ..] => white(next) || matches!(next, b'{' | b'[' | b'"' | b']'),
        _ => matches!(start, b"data" | b"even"),
    }
}
