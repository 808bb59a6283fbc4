//! Content encodings of bodies (RFC 9110 section 8.4 <https://www.rfc-editor.org/rfc/rfc9110#section-8.4>): gzip, deflate
//! and zstd, up to three on top of each other, are decoded as the pieces pass; others are named and left alone.
//!
//! What a body is made of counts more than what its header says: compressed bytes are known by their first four, and a
//! body that is not compressed although its header says so is read as it is.

mod inflate;
mod layer;
mod quota;
mod zstd;

use layer::Layer;
use quota::Quota;

use crate::budget::Lease;

/// Codings on top of each other that are decoded.
const LAYERS_MAX: usize = 3;
/// Longest name of a coding that is shown.
const NAME_MAX: usize = 64;

/// A coding that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or (from some servers) bare RFC 1951.
    Deflate,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Why decoding stopped before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are not of the announced encoding.
    Corrupt,
    /// More than may be read: 16 MiB of output, 4 MiB of one piece, 32 times the compressed size beyond 1 MiB (a gzip
    /// member counts as 4 KiB, a zstd frame as 1 KiB), or a zstd window of more than 8 MiB.
    TooLong,
    /// The VM's budget is used up.
    NoMemory,
}

/// Decodes a body fed in any pieces.
#[derive(Debug)]
pub struct BodyDecoder {
    /// The outermost coding first; one, of no kind, where no header says anything.
    layers: Vec<Layer>,
    /// The codings, where one of them is not decoded, or there are too many.
    unknown: Option<String>,
    quota: Quota,
    error: Option<DecodeError>,
    /// See [`Self::is_late`]; also behind an error.
    late: bool,
}

impl BodyDecoder {
    /// A decoder for what the `content-encoding` headers of a message say, in memory from `lease`.
    #[must_use]
    pub fn new<'a>(headers: impl Iterator<Item = &'a [u8]>, lease: &Lease) -> Self {
        let mut names = Vec::new();
        for value in headers {
            names.extend(value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).map(<[u8]>::to_ascii_lowercase));
        }
        names.retain(|name| !matches!(name.as_slice(), b"" | b"identity"));
        let codings: Option<Vec<Coding>> = names.iter().rev().map(|name| coding(name)).collect();
        let codings = codings.filter(|codings| codings.len() <= LAYERS_MAX);
        let unknown = codings.is_none().then(|| shown(&names));
        let said = codings.unwrap_or_default();
        let mut layers: Vec<Layer> = said.into_iter().map(|coding| Layer::new(Some(coding), lease.another())).collect();
        if layers.is_empty() {
            layers.push(Layer::new(None, lease.another()));
        }
        Self { layers, unknown, quota: Quota::default(), error: None, late: false }
    }

    /// Takes the next bytes; calls `on_bytes` with what they decode to. Behind an error nothing is decoded.
    pub fn push(&mut self, bytes: &[u8], on_bytes: &mut dyn FnMut(&[u8])) {
        if self.is_opaque() || self.error.is_some() {
            return;
        }
        self.quota.begin_piece(bytes.len());
        let result = push(&mut self.layers, bytes, &self.quota, on_bytes);
        self.note(result);
    }

    /// No more will come: what is still held back is handed out.
    pub fn finish(&mut self, on_bytes: &mut dyn FnMut(&[u8])) {
        if self.is_opaque() || self.error.is_some() {
            return;
        }
        self.quota.begin_piece(0);
        let result = finish(&mut self.layers, &self.quota, on_bytes);
        self.note(result);
    }

    fn note(&mut self, result: Result<(), DecodeError>) {
        if let Err(error) = result {
            self.error = Some(error);
            self.late = self.is_late();
            self.layers.clear();
        }
    }

    /// The bytes have an encoding that is not decoded.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.unknown.is_some()
    }

    /// Why the body could not be decoded to its end.
    #[must_use]
    pub fn error(&self) -> Option<DecodeError> {
        self.error
    }

    /// When bytes come out says nothing of when they came in: zstd holds them back.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late || self.layers.iter().any(Layer::is_late)
    }

    /// What is to be said of the encoding: why something is missing, or how the header was wrong.
    #[must_use]
    pub fn note_of_problem(&self) -> Option<String> {
        if let Some(names) = &self.unknown {
            return Some(format!("not decoded: {names}"));
        }
        let problem = match self.error {
            None => return self.layers.iter().find_map(Layer::mismatch),
            Some(DecodeError::Corrupt) => "corrupt content-encoding",
            Some(DecodeError::TooLong) => "decoded in part: longer than is decoded",
            Some(DecodeError::NoMemory) => "not decoded: memory_budget used up",
        };
        Some(problem.to_owned())
    }
}

fn coding(name: &[u8]) -> Option<Coding> {
    match name {
        b"gzip" | b"x-gzip" => Some(Coding::Gzip),
        b"deflate" | b"x-deflate" => Some(Coding::Deflate),
        b"zstd" => Some(Coding::Zstd),
        _ => None,
    }
}

fn shown(names: &[Vec<u8>]) -> String {
    let text = names.join(&b", "[..]);
    crate::trace::truncate(&String::from_utf8_lossy(&text), NAME_MAX).to_owned()
}

/// Hands bytes to the first layer, what comes of them to the next, and so on; there are [`LAYERS_MAX`] at the most.
fn push(layers: &mut [Layer], bytes: &[u8], quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        on_bytes(bytes);
        return Ok(());
    };
    let mut result = Ok(());
    layer.push(bytes, quota, &mut |bytes| {
        if result.is_ok() {
            result = push(inner, bytes, quota, on_bytes);
        }
    })?;
    result
}

fn finish(layers: &mut [Layer], quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
    let Some((layer, inner)) = layers.split_first_mut() else { return Ok(()) };
    let mut result = Ok(());
    layer.finish(quota, &mut |bytes| {
        if result.is_ok() {
            result = push(inner, bytes, quota, on_bytes);
        }
    })?;
    result?;
    finish(inner, quota, on_bytes)
}

#[cfg(test)]
mod tests;
