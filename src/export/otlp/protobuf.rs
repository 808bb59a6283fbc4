//! Writing protobuf: the few wire types that OTLP needs (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! Lengths are computed before they are written, so that a prompt of a megabyte is copied once.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// Appends a base-128 varint.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    out.push(value as u8);
}

/// Length of a varint.
pub(super) fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    usize::try_from(bits.div_ceil(7).max(1)).unwrap_or(1)
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

/// Begins a length-delimited field whose content of `len` bytes the caller writes next.
pub(super) fn begin(out: &mut Vec<u8>, field: u32, len: usize) {
    tag(out, field, BYTES);
    varint(out, len as u64);
}

/// Length of a length-delimited field of less than 16 whose content has `len` bytes.
pub(super) fn field_len(len: usize) -> usize {
    1 + varint_len(len) + len
}

/// Bytes, a string, or an encoded message.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    begin(out, field, content.len());
    out.extend_from_slice(content);
}

/// An enum or integer.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// A fixed64.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A double.
pub(super) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_length_that_was_computed() {
        for value in [0_usize, 1, 127, 128, 16_383, 16_384, 1 << 31, usize::MAX] {
            let mut out = Vec::new();
            varint(&mut out, value as u64);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }
}
