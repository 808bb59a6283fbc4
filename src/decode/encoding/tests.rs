//! Bodies of every encoding, split anywhere, cut, wrongly announced, and too large.

use super::quota::{OUTPUT_MAX, RATIO};
use super::*;
use crate::budget::Budget;
use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec as compress_to_zstd};

/// Made with zstd 1.5 (level 3, flushed every few events, with a checksum), as a server compresses a stream.
const STREAM: &[u8] = include_bytes!("samples/stream.zst");
/// The same text in one frame of level 19, which states its size.
const WHOLE: &[u8] = include_bytes!("samples/whole.zst");
/// 20 MiB of zeros.
const BOMB: &[u8] = include_bytes!("samples/bomb.zst");
/// Bytes that a decoder may put out beyond a cap: one step.
const STEP: usize = 32 * 1024;

fn gzip(text: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
    let mut body = vec![0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3];
    body.extend_from_slice(fields);
    body.extend(compress_to_vec(text, 6));
    body.extend([0; 8]);
    body
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_zstd(text, CompressionLevel::Fastest)
}

/// What a body decodes to, how that ended, and what is said of it.
fn decoded(header: &str, pieces: &[&[u8]]) -> (Vec<u8>, Option<DecodeError>, Option<String>) {
    let budget = Budget::new(1 << 30);
    let mut decoder = BodyDecoder::new([header.as_bytes()].into_iter(), &budget.export_lease());
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| decoder.push(piece, &mut |bytes| out.extend_from_slice(bytes)));
    decoder.finish(&mut |bytes| out.extend_from_slice(bytes));
    (out, decoder.error(), decoder.note_of_problem())
}

fn text_of(header: &str, body: &[u8]) -> Vec<u8> {
    let (out, error, note) = decoded(header, &[body]);
    assert_eq!((error, note), (None, None), "{header}");
    out
}

fn stream_text() -> Vec<u8> {
    let event = |n: u32| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word {n}\"}}}}]}}\n\n");
    (0..40).map(event).collect::<String>().into_bytes()
}

#[test]
fn every_encoding_and_three_on_top_of_each_other_are_decoded() {
    let text = b"some text, some text, some text".repeat(2000);
    for (header, body) in [
        ("", text.clone()),
        ("identity", text.clone()),
        (" GZIP ", gzip(&text, 0, &[])),
        ("x-gzip", gzip(&text, 0, &[])),
        ("deflate", compress_to_vec_zlib(&text, 6)),
        ("x-deflate", compress_to_vec(&text, 6)),
        ("zstd", zstd(&text)),
        ("deflate, gzip", gzip(&compress_to_vec_zlib(&text, 6), 0, &[])),
        ("gzip,identity,zstd", zstd(&gzip(&text, 0, &[]))),
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(&text, 0, &[]), 0, &[]), 0, &[])),
    ] {
        assert_eq!(text_of(header, &body), text, "{header}");
    }
}

#[test]
fn what_is_not_decoded_is_named() {
    for (header, named) in [
        ("br", "not decoded: br"),
        ("gzip, br", "not decoded: gzip, br"),
        ("gzip, gzip, gzip, gzip", "not decoded: gzip, gzip, gzip, gzip"),
        (&"x".repeat(100), &format!("not decoded: {}", "x".repeat(64))),
    ] {
        assert_eq!(decoded(header, &[b"abc"]), (Vec::new(), None, Some(named.to_owned())));
    }
    let two = [&b"deflate"[..], b"gzip"];
    let mut decoder = BodyDecoder::new(two.into_iter(), &Budget::new(1 << 20).export_lease());
    let mut out = Vec::new();
    decoder.push(&gzip(&compress_to_vec_zlib(b"two headers", 6), 0, &[]), &mut |bytes| out.extend_from_slice(bytes));
    assert_eq!(out, b"two headers");
}

#[test]
fn a_wrong_header_is_said_and_the_body_is_read_as_what_it_is() {
    let json = br#"{"a":1}"#;
    for (header, body, note) in [
        ("gzip", json.to_vec(), "content-encoding says gzip; the body is not compressed"),
        ("zstd", json.to_vec(), "content-encoding says zstd; the body is not compressed"),
        ("deflate", json.to_vec(), "content-encoding says deflate; the body is not compressed"),
        ("deflate", gzip(json, 0, &[]), "content-encoding says deflate; the body is gzip"),
        ("gzip", zstd(json), "content-encoding says gzip; the body is zstd"),
        ("", gzip(json, 0, &[]), "content-encoding says nothing; the body is gzip"),
        ("gzip, gzip", gzip(json, 0, &[]), "content-encoding says gzip; the body is not compressed"),
    ] {
        let bytewise: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decoded(header, &bytewise), (json.to_vec(), None, Some(note.to_owned())), "{header}");
    }
    for start in [&b"{"[..], b"[", b"\x1F", b"\x1F\x8B", b"(\xB5", b""] {
        assert_eq!(decoded("gzip", &[start]).0, start);
        assert_eq!(decoded("", &[start]).0, start);
    }
    assert_eq!(decoded("deflate", &[&compress_to_vec(b"", 6)]).0, b"");
}

#[test]
fn gzip_has_optional_fields_members_and_padding() {
    let text = b"some text, some text, some text".repeat(2000);
    let fields = [&[3, 0, 1, 2, 3][..], b"name\0", b"comment\0", &[0, 0]].concat();
    let mut body = gzip(&text, 4 | 8 | 16 | 2, &fields);
    body.extend(gzip(b"and more", 0, &[]));
    body.extend([0, 0, 0]);
    assert_eq!(text_of("gzip", &body), [&text[..], b"and more"].concat());
    // A member for each flush of a stream, and nothing but members.
    assert_eq!(text_of("gzip", &gzip(b"data: {}\n\n", 0, &[]).repeat(200)).len(), 2000);
    assert_eq!(decoded("gzip", &[&gzip(b"", 0, &[]).repeat(1000)]).1, Some(DecodeError::TooLong));
}

#[test]
fn zstd_has_frames_checksums_and_frames_to_be_skipped() {
    assert_eq!(text_of("zstd", STREAM), stream_text());
    assert_eq!(text_of("zstd", WHOLE), stream_text());
    let skipped = [&[0x53, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let body = [&skipped[..], STREAM, &skipped, WHOLE, &[0; 6]].concat();
    assert_eq!(text_of("zstd", &body), stream_text().repeat(2));
    // A frame for each flush of a stream, and nothing but frames.
    assert_eq!(text_of("zstd", &zstd(b"data: {}\n\n").repeat(200)).len(), 2000);
    assert_eq!(decoded("zstd", &[&zstd(b"").repeat(10_000)]).1, Some(DecodeError::TooLong));
}

#[test]
fn what_zstd_held_back_comes_whole_at_the_end() {
    // Random enough not to be a bomb, in one window of 8 MiB.
    let text: Vec<u8> = (0..6_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let mut body = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 13 << 3];
    for block in text.chunks(100_000) {
        body.extend(&(u32::try_from(block.len()).unwrap() << 3).to_le_bytes()[..3]);
        body.extend(block);
    }
    let cut = body.clone();
    body.extend([1, 0, 0]);
    for body in [&body, &cut] {
        let pieces: Vec<&[u8]> = body.chunks(16 * 1024).collect();
        let (out, error, _) = decoded("zstd", &pieces);
        assert!(out == text && error.is_none(), "{} of {}, {error:?}", out.len(), text.len());
    }
}

#[test]
fn a_block_of_zstd_makes_no_more_than_a_block_may_hold() {
    // 2^20 - 1 literals, all the same byte, and no sequences.
    let block = [0b1111_1101, 0xFF, 0xFF, b'x', 0];
    let mut body = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 0];
    body.extend(&(u32::try_from(block.len()).unwrap() << 3 | 0b101).to_le_bytes()[..3]);
    body.extend(block);
    assert_eq!(decoded("zstd", &[&body]).1, Some(DecodeError::Corrupt));
}

#[test]
fn what_came_before_an_error_is_late_too() {
    let mut decoder = BodyDecoder::new([&b"zstd"[..]].into_iter(), &Budget::new(1 << 30).export_lease());
    decoder.push(&[&STREAM[..6], &[0b110, 0, 0]].concat(), &mut |_| {});
    assert!(decoder.error().is_some() && decoder.is_late());
}

#[test]
fn broken_bytes_are_corrupt() {
    let mut broken = gzip(&b"text".repeat(100), 0, &[]);
    broken[12..20].fill(0xFF);
    assert_eq!(decoded("gzip", &[&broken]).1, Some(DecodeError::Corrupt));
    let mut broken = STREAM.to_vec();
    broken[10..60].fill(0xFF);
    assert_eq!(decoded("zstd", &[&broken]).1, Some(DecodeError::Corrupt));
    let reserved_block = [&STREAM[..6], &[0b110, 0, 0]].concat();
    assert_eq!(decoded("zstd", &[&reserved_block]).1, Some(DecodeError::Corrupt));
}

#[test]
fn bombs_are_cut() {
    let bomb = gzip(&vec![0; OUTPUT_MAX], 0, &[]);
    let twice = gzip(&gzip(&vec![0; 64 << 20], 0, &[]), 0, &[]);
    for (header, body) in [("gzip", &bomb[..]), ("zstd", BOMB), ("gzip, gzip", &twice)] {
        let (out, error, note) = decoded(header, &[body]);
        assert!(out.len() <= RATIO.0 + body.len() * RATIO.1 + STEP, "{header}: {}", out.len());
        assert_eq!(error, Some(DecodeError::TooLong), "{header}");
        assert_eq!(note.as_deref(), Some("decoded in part: longer than is decoded"));
        let bytewise: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decoded(header, &bytewise).1, Some(DecodeError::TooLong));
    }
    // A window of 16 MiB.
    let window = [0x28, 0xB5, 0x2F, 0xFD, 0, 14 << 3, 1, 0, 0];
    assert_eq!(decoded("zstd", &[&window]).1, Some(DecodeError::TooLong));
}

#[test]
fn without_memory_nothing_is_decoded() {
    for (header, body) in [("gzip", gzip(b"x", 0, &[])), ("zstd", STREAM.to_vec())] {
        let budget = Budget::new(100_000).export_lease();
        let mut decoder = BodyDecoder::new([header.as_bytes()].into_iter(), &budget);
        if header == "gzip" {
            let mut all = budget.another();
            assert!(all.grow(90_000));
            decoder.push(&body, &mut |_| panic!("nothing can be decoded without memory"));
        } else {
            decoder.push(&body, &mut |_| panic!("nothing can be decoded without memory"));
        }
        assert_eq!(decoder.error(), Some(DecodeError::NoMemory));
    }
}

#[test]
fn a_cut_body_gives_what_had_arrived() {
    let text = b"abcdefgh".repeat(50_000);
    let body = gzip(&text, 0, &[]);
    let (out, error, _) = decoded("gzip", &[&body[..body.len() / 2]]);
    assert!(!out.is_empty() && text.starts_with(&out) && error.is_none());
    let (out, error, _) = decoded("zstd", &[&STREAM[..STREAM.len() * 9 / 10]]);
    assert!(out.len() > 1000 && stream_text().starts_with(&out) && error.is_none());
}

/// The inflater holds up to 32 KiB that it does not give out any more once it has met an error.
#[test]
fn all_that_stands_before_an_error_comes_out() {
    let text = b"0123456789".repeat(10_000);
    for length in (1..text.len()).step_by(3333) {
        // Blocks that are stored as they are, and one of a kind that there is not.
        let mut body = Vec::new();
        for block in text[..length].chunks(5000) {
            let size = u16::try_from(block.len()).unwrap();
            body.extend([&[0], &size.to_le_bytes()[..], &(!size).to_le_bytes(), block].concat());
        }
        body.push(7);
        for size in [1, 1000, 20_000, body.len()] {
            let (out, error, _) = decoded("deflate", &body.chunks(size).collect::<Vec<_>>());
            assert_eq!((out.len(), error), (length, Some(DecodeError::Corrupt)), "in pieces of {size}");
        }
    }
}

/// The last byte may stand for more than one step, and none comes behind it to fetch that.
#[test]
fn all_that_the_last_byte_stands_for_comes_out() {
    let text = vec![b' '; 300_000];
    let body = compress_to_vec(&text, 6);
    for cut in 1..body.len() {
        let (whole, ..) = decoded("deflate", &[&body[..cut]]);
        let bytewise: Vec<&[u8]> = body[..cut].chunks(1).collect();
        assert_eq!(decoded("deflate", &bytewise).0.len(), whole.len(), "cut at {cut} of {}", body.len());
    }
}

proptest! {
    #[test]
    fn any_split_decodes_to_the_same(
        text in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        which in 0..4_usize,
    ) {
        let (header, body) = match which {
            0 => ("gzip", gzip(&text, 8, b"n\0")),
            1 => ("zstd", zstd(&text)),
            2 => ("deflate", compress_to_vec_zlib(&text, 6)),
            _ => ("deflate, zstd, gzip", gzip(&zstd(&compress_to_vec_zlib(&text, 6)), 0, &[])),
        };
        let mut borders: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        borders.extend([0, body.len()]);
        borders.sort_unstable();
        let pieces: Vec<&[u8]> = borders.windows(2).map(|w| &body[w[0]..w[1]]).collect();
        prop_assert_eq!(decoded(header, &pieces), (text, None, None));
    }

    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..300), which in 0..3_usize) {
        let starts: [&[u8]; 3] = [&[0x1F, 0x8B, 8], &[], &STREAM[..6]];
        for header in ["gzip", "deflate", "zstd", ""] {
            decoded(header, &[starts[which], &body]);
        }
    }
}
