//! SHA-256 of bytes that arrive in pieces. Spec: FIPS 180-4 <https://csrc.nist.gov/pubs/fips/180-4/upd1/final>.
//!
//! The hash is RustCrypto's. In the module it is its compact one (`.cargo/config.toml`), which takes about 5 ms per MiB
//! in V8; built without that setting the module works the same and is 7 KB larger.

use sha2::Digest;

/// The hash of what was taken so far.
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The hash of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Appends `bytes` in lower-case hexadecimal.
pub fn write_hex(out: &mut String, bytes: &[u8]) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(pieces: &[&[u8]]) -> String {
        let mut hash = Sha256::new();
        pieces.iter().for_each(|piece| hash.update(piece));
        let mut out = String::new();
        write_hex(&mut out, &hash.finish());
        out
    }

    /// NIST's examples <https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values>, and
    /// lengths around a block's.
    #[test]
    fn known_digests() {
        for (text, digest) in [
            (&b""[..], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&[b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            assert_eq!(hex(&[text]), digest);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_digest(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(hex(&[a, b]), hex(&[&bytes]));
        }
    }
}
