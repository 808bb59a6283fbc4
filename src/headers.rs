//! Headers as hosts hand them over: names may have any case (WasmX keeps the client's spelling, Envoy writes lower case),
//! values any bytes.

/// Name and value.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// All values of the header `name`, in wire order.
pub fn all<'h, 'a>(headers: &'h [Header<'a>], name: &'h str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
}

/// The first value of the header `name`.
#[must_use]
pub fn find<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    all(headers, name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let headers: [Header<'_>; 3] = [(b"X-User-Id", b"a"), (b"x-user-id", b"b"), (b"x-user", b"c")];
        assert_eq!(all(&headers, "x-user-id").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(find(&headers, "content-type"), None);
    }
}
