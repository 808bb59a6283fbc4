//! Content encodings: any split gives the same bytes, what was compressed is read back, and bombs stop at the caps.

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use ruzstd::encoding::{CompressionLevel, compress_to_vec as compress_to_zstd};

use super::Input;
use super::input::pieces;
use crate::budget::{Budget, Lease};
use crate::decode::{BodyDecoder, DecodeError};

/// As in `decode::encoding`: of one body, of one piece (with what zstd held back), and how far both may be passed.
const OUTPUT_MAX: usize = 16 << 20;
const PIECE_MAX: usize = 12 << 20;
const STEP: usize = 16 << 10;

/// Bytes that may be decoded of any body, by all its codings together; the innermost of two has half of them at least.
const ALWAYS: usize = (1 << 20) / 2;

type Decoded = (Vec<u8>, Option<DecodeError>);

/// See the module's documentation.
pub(super) fn encoding(data: &[u8]) {
    const HEADERS: [&str; 10] =
        ["gzip", "deflate", "x-gzip", "gzip, deflate", "deflate, gzip", "gzip, gzip", "zstd", "", "zstd, gzip", "br"];
    let mut input = Input::new(data);
    let header = input.pick(&HEADERS);
    let (compress, seed) = (input.choose(3), input.seed());
    let plain = input.rest();
    let body = match compress {
        0 => plain.to_vec(),
        1 => encoded(plain, header),
        _ => compress_to_vec(plain, 1),
    };
    let budget = Budget::new(1 << 30);
    let whole = read(header, &[&body], &budget.export_lease());
    for seed in [0, seed] {
        assert_same(&whole, &read(header, &pieces(&body, seed), &budget.export_lease()));
    }
    assert_eq!(budget.used(), 0, "all is given back");
    // What was not compressed and looks as if it were is decoded.
    if compress == 1 && !["", "br"].contains(&header) {
        assert_eq!((whole.1, whole.0.as_slice()), (None, plain), "what was compressed is read back");
    }
    let none = read(header, &pieces(&body, seed), &Budget::new(1).export_lease());
    assert!(none.1 == Some(DecodeError::NoMemory) || none.0.len() <= body.len(), "without memory nothing is decoded");
}

/// Compressed as the header says.
fn encoded(plain: &[u8], header: &str) -> Vec<u8> {
    header.split(", ").fold(plain.to_vec(), |body, coding| match coding {
        "gzip" | "x-gzip" => gzip(&body),
        "deflate" => compress_to_vec_zlib(&body, 1),
        "zstd" => compress_to_zstd(body.as_slice(), CompressionLevel::Fastest),
        _ => body,
    })
}

fn read(header: &str, pieces: &[&[u8]], lease: &Lease) -> Decoded {
    let mut decoder = BodyDecoder::new([header.as_bytes()].into_iter(), lease);
    let mut out = Vec::new();
    for piece in pieces {
        let before = out.len();
        decoder.push(piece, &mut |bytes| out.extend_from_slice(bytes));
        assert!(out.len() <= OUTPUT_MAX + STEP && out.len() - before <= PIECE_MAX + STEP, "{} bytes", out.len());
    }
    decoder.finish(&mut |bytes| out.extend_from_slice(bytes));
    (out, decoder.error())
}

/// The same, unless a cap was reached or the bytes are corrupt: where that is noticed depends on the pieces.
fn assert_same(whole: &Decoded, split: &Decoded) {
    let too_long = [whole.1, split.1].contains(&Some(DecodeError::TooLong));
    let (longer, shorter) = (whole.0.len().max(split.0.len()), whole.0.len().min(split.0.len()));
    let corrupt = whole.1 == split.1 && whole.1 == Some(DecodeError::Corrupt) && longer - shorter <= 4 * STEP;
    if corrupt || (too_long && longer + 2 * STEP > ALWAYS) {
        let common = whole.0.len().min(split.0.len());
        assert!(whole.0.get(..common) == split.0.get(..common), "the beginnings are the same");
    } else {
        assert_eq!(whole.1, split.1);
        assert!(whole.0 == split.0, "{} and {} bytes, {:?}", whole.0.len(), split.0.len(), whole.1);
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(compress_to_vec(plain, 1));
    out.extend([0; 8]);
    out
}
