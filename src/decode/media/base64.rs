//! Base64 (RFC 4648 <https://www.rfc-editor.org/rfc/rfc4648>) that arrives in pieces: the standard and the URL-safe
//! alphabet, with or without padding. Bits that a last group leaves over are not looked at.

const INVALID: u8 = 0xFF;
/// The value of each character.
const VALUES: [u8; 256] = values();
/// Characters that are decoded at once; a multiple of 4.
const STEP: usize = 4096;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn values() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [INVALID; 256];
    let mut value = 0;
    while value < 64 {
        values[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
}

fn value(character: u8) -> u8 {
    VALUES.get(usize::from(character)).copied().unwrap_or(INVALID)
}

/// `character` is of one of the alphabets.
pub(super) fn is_base64(character: u8) -> bool {
    value(character) != INVALID
}

/// Decodes text fed in any pieces.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// The group that is not whole yet.
    bits: u32,
    /// Characters of it.
    filled: u8,
    /// Padding seen.
    pads: u8,
    is_invalid: bool,
}

impl Base64 {
    /// Takes the next characters; calls `on_bytes` with what they decode to. Behind the first that is wrong, nothing is
    /// decoded any more.
    pub(super) fn push(&mut self, text: &[u8], on_bytes: &mut dyn FnMut(&[u8])) {
        for text in text.chunks(STEP) {
            let mut out = [0; STEP / 4 * 3 + 3];
            let len = self.decode(text, &mut out);
            on_bytes(out.get(..len).unwrap_or_default());
        }
    }

    /// Marks the text as none that is base64, from here on.
    pub(super) fn spoil(&mut self) {
        self.is_invalid = true;
    }

    /// The text has ended: calls `on_bytes` with the last bytes. True if all of it was base64.
    pub(super) fn finish(&mut self, on_bytes: &mut dyn FnMut(&[u8])) -> bool {
        let bits = self.bits << (6 * (4 - u32::from(self.filled)));
        let [_, bytes @ ..] = bits.to_be_bytes();
        let whole = usize::from(self.filled.saturating_sub(1));
        on_bytes(bytes.get(..whole).unwrap_or_default());
        let padded = self.pads == 0 || (self.pads <= 2 && self.filled + self.pads == 4);
        !self.is_invalid && self.filled != 1 && padded
    }

    /// Decodes at most [`STEP`] characters; says how many bytes that made.
    fn decode(&mut self, text: &[u8], out: &mut [u8]) -> usize {
        let aligned = if self.filled == 0 { 0 } else { usize::from(4 - self.filled) };
        let (head, rest) = text.split_at(aligned.min(text.len()));
        let mut len = self.slowly(head, out);
        let (groups, tail) = rest.as_chunks::<4>();
        let clean = self.filled == 0 && self.pads == 0 && !self.is_invalid;
        let done = if clean { decode_groups(groups, out.get_mut(len..).unwrap_or_default()) } else { 0 };
        len += 3 * done;
        let left = groups.get(done..).unwrap_or_default().as_flattened();
        for text in [left, tail] {
            len += self.slowly(text, out.get_mut(len..).unwrap_or_default());
        }
        len
    }

    fn slowly(&mut self, text: &[u8], out: &mut [u8]) -> usize {
        let mut room = out.as_chunks_mut::<3>().0.iter_mut();
        let mut len = 0;
        for character in text {
            match value(*character) {
                _ if self.is_invalid => break,
                INVALID if *character == b'=' => self.pads = self.pads.saturating_add(1),
                INVALID => self.is_invalid = true,
                _ if self.pads > 0 => self.is_invalid = true,
                value => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.filled += 1;
                }
            }
            if self.filled == 4 {
                let [_, bytes @ ..] = std::mem::take(&mut self.bits).to_be_bytes();
                self.filled = 0;
                room.next().into_iter().for_each(|to| *to = bytes);
                len += 3;
            }
        }
        len
    }
}

/// Decodes whole groups up to the first that is not plain; says how many.
fn decode_groups(groups: &[[u8; 4]], out: &mut [u8]) -> usize {
    let mut done = 0;
    for (group, to) in groups.iter().zip(out.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = group.map(value);
        if (a | b | c | d) & 0x80 != 0 {
            break;
        }
        let [_, bytes @ ..] = u32::from_be_bytes([0, a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]).to_be_bytes();
        *to = bytes;
        done += 1;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine;
    use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn decoded(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let mut keep = |bytes: &[u8]| out.extend_from_slice(bytes);
        let mut base64 = Base64::default();
        pieces.iter().for_each(|piece| base64.push(piece, &mut keep));
        let is_valid = base64.finish(&mut keep);
        (out, is_valid)
    }

    #[test]
    fn what_is_wrong_ends_it() {
        for (text, bytes, is_valid) in [
            ("", &b""[..], true),
            ("TWFu", b"Man", true),
            ("TWE=", b"Ma", true),
            ("TWE", b"Ma", true),
            ("TQ==", b"M", true),
            ("TWFuT", b"Man", false),
            ("TWFu=", b"Man", false),
            ("TQ=", b"M", false),
            ("TQ===", b"M", false),
            ("TWE=TWFu", b"Ma", false),
            ("TWFuTW!FuTWFuTWFu", b"ManM", false),
            ("====", b"", false),
        ] {
            assert_eq!(decoded(&[text.as_bytes()]), (bytes.to_vec(), is_valid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_decodes_what_a_library_encodes(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3)) {
            for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&bytes);
                let mut borders: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
                borders.extend([0, text.len()]);
                borders.sort_unstable();
                let pieces: Vec<_> = borders.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
                prop_assert_eq!(decoded(&pieces), (bytes.clone(), true));
            }
        }

        #[test]
        fn long_texts_are_decoded_in_steps(bytes in prop::collection::vec(any::<u8>(), STEP..STEP + 10), cut in 0..4_usize) {
            let text = STANDARD.encode(&bytes).into_bytes();
            let (a, b) = text.split_at(cut);
            prop_assert_eq!(decoded(&[a, b]), (bytes, true));
        }

        #[test]
        fn any_split_gives_the_same(text in "[A-Za-z0-9+/=_!-]{0,40}", cut in any::<prop::sample::Index>()) {
            let (a, b) = text.as_bytes().split_at(cut.index(text.len() + 1));
            prop_assert_eq!(decoded(&[a, b]), decoded(&[text.as_bytes()]));
        }
    }
}
