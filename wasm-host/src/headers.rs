//! Header lists, and how the ABI serialises them.

/// Names and values in their order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The first value of that name, in any case.
#[must_use]
pub fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

/// As `proxy_get_header_map_pairs` gives it.
pub(crate) fn serialise(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let number = |length: usize| (length as u32).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for (name, value) in headers {
        for text in [name.as_bytes(), value] {
            bytes.extend(text);
            bytes.push(0);
        }
    }
    bytes
}

/// Reads what a guest has serialised; none where the numbers do not fit the bytes.
pub(crate) fn parse(bytes: &[u8]) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0)?;
    let mut at = 4 + count.checked_mul(8)?;
    let mut headers = Vec::new();
    for pair in 0..count {
        let (name_len, value_len) = (number(4 + pair * 8)?, number(8 + pair * 8)?);
        let value_at = at + name_len + 1;
        let name = bytes.get(at..at + name_len)?;
        let value = bytes.get(value_at..value_at + value_len)?;
        headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        at = value_at + value_len + 1;
    }
    (at == bytes.len()).then_some(headers)
}
