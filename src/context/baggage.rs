//! W3C Baggage (<https://www.w3.org/TR/baggage/#header-content>): the keys under which Langfuse's SDKs hand context on.

use crate::headers::{self, Header};

/// Bytes of baggage that are looked at, all headers together (the W3C limit).
const BAGGAGE_MAX: usize = 8192;

/// The percent-decoded value of `key`, from the first entry of that name.
pub(super) fn find(headers: &[Header<'_>], key: &str) -> Option<String> {
    let values: Vec<&[u8]> = headers::all(headers, "baggage").collect();
    if values.iter().map(|value| value.len()).sum::<usize>() > BAGGAGE_MAX {
        return None;
    }
    values.iter().filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|text| text.split(',')).find_map(
        |entry| {
            let (name, value) = entry.split(';').next()?.split_once('=')?;
            (name.trim() == key).then(|| percent_decode(value.trim()))?
        },
    )
}

/// Decodes `%41`; none where an escape is broken or the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let code = digit(bytes.next())? * 16 + digit(bytes.next())?;
            out.push(u8::try_from(code).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_across_headers_and_broken_ones_are_passed_over() {
        let headers: [Header<'_>; 2] = [(b"Baggage", b"a=1,b = %C3%A9 ;p=q"), (b"baggage", b"c=%ZZ,d=%41")];
        let found = |key| find(&headers, key);
        assert_eq!((found("a").as_deref(), found("b").as_deref()), (Some("1"), Some("é")));
        assert_eq!((found("c"), found("d").as_deref(), found("e")), (None, Some("A"), None));
    }
}
