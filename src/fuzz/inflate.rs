//! Content encodings: any split gives the same bytes, what was compressed is read back, and bombs stop at the caps.

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

use super::Input;
use super::input::pieces;
use crate::budget::{Budget, Lease};
use crate::decode::{Encoding, InflateError, Inflater};

/// As in `decode::encoding`: of one body, of one piece, and how far both may be passed (one step).
const OUTPUT_MAX: usize = 16 << 20;
const PIECE_MAX: usize = 4 << 20;
const STEP: usize = 16 << 10;

/// Bytes that may be inflated of any body.
const ALWAYS: usize = 1 << 20;

type Inflated = (Vec<u8>, Option<InflateError>);

/// See the module's documentation.
pub(super) fn inflate(data: &[u8]) {
    let mut input = Input::new(data);
    let header: &[u8] =
        input.pick(&[&b"gzip"[..], b"deflate", b"x-gzip", b"gzip, deflate", b"deflate, gzip", b"gzip, gzip"]);
    let (compress, seed) = (input.choose(3), input.seed());
    let encoding = Encoding::from_header(header);
    let plain = input.rest();
    let compressed = match (compress, header) {
        (0, _) => plain.to_vec(),
        (1, b"deflate") => compress_to_vec_zlib(plain, 1),
        (_, b"deflate") => compress_to_vec(plain, 1),
        _ => gzip(plain),
    };
    let budget = Budget::new(1 << 30);
    let Some(whole) = read(&encoding, &[&compressed], budget.export_lease()) else { return };
    for seed in [0, seed] {
        let split = read(&encoding, &pieces(&compressed, seed), budget.export_lease()).expect("an inflater");
        assert_same(&whole, &split);
    }
    assert_eq!(budget.used(), 0, "all is given back");
    let is_single = !header.contains(&b',');
    // Bare deflate that looks like zlib is read as zlib: nothing tells them apart.
    if compress > 0 && is_single && !(compress == 2 && header == b"deflate") {
        assert_eq!((whole.1, whole.0.as_slice()), (None, plain), "what was compressed is read back");
    }
    let none = read(&encoding, &pieces(&compressed, seed), Budget::new(1).export_lease()).expect("an inflater");
    assert!(none.0.is_empty(), "without memory nothing is inflated");
}

fn read(encoding: &Encoding, pieces: &[&[u8]], lease: Lease) -> Option<Inflated> {
    let mut inflater = Inflater::new(encoding, lease)?;
    let mut out = Vec::new();
    for piece in pieces {
        let before = out.len();
        inflater.push(piece, &mut |bytes| out.extend_from_slice(bytes));
        assert!(out.len() <= OUTPUT_MAX + STEP && out.len() - before <= PIECE_MAX + STEP, "{} bytes", out.len());
    }
    Some((out, inflater.error()))
}

/// The same, unless a cap was reached or the bytes are corrupt: where that is noticed depends on the pieces.
fn assert_same(whole: &Inflated, split: &Inflated) {
    let too_long = [whole.1, split.1].contains(&Some(InflateError::TooLong));
    let (longer, shorter) = (whole.0.len().max(split.0.len()), whole.0.len().min(split.0.len()));
    let corrupt = whole.1 == split.1 && whole.1 == Some(InflateError::Corrupt) && longer - shorter <= 4 * STEP;
    if corrupt || (too_long && longer > ALWAYS) {
        let common = whole.0.len().min(split.0.len());
        assert!(whole.0.get(..common) == split.0.get(..common), "the beginnings are the same");
    } else {
        assert_eq!(whole.1, split.1);
        assert!(whole.0 == split.0, "{} and {} bytes", whole.0.len(), split.0.len());
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(compress_to_vec(plain, 1));
    out.extend([0; 8]);
    out
}
