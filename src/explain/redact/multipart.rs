//! `multipart/form-data` (RFC 7578): boundaries, names of fields and types stay, names of files and contents go.

use super::body;
use super::head::is_token;
use super::mask::{self, Masker};
use super::names::{Treatment, is_enumeration, is_public_model, treatment};

/// The boundary that a content type names.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let mut parameters = content_type.split(';').map(str::trim);
    let kind = parameters.next()?;
    kind.get(..10).filter(|kind| kind.eq_ignore_ascii_case("multipart/"))?;
    let named = |parameter: &'_ str| {
        parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("boundary")).is_some()
    };
    let boundary = parameters.find(|parameter| named(parameter))?.split_once('=')?.1.trim_matches('"');
    (!boundary.is_empty()).then_some(boundary)
}

/// Writes the parts with other contents to `out`: exactly as many bytes.
pub(super) fn redact(bytes: &[u8], boundary: &str, masker: &mut Masker, out: &mut Vec<u8>) {
    let delimiter = format!("--{boundary}");
    let end = memchr::memmem::Finder::new(delimiter.as_bytes());
    let mut rest = bytes;
    while !rest.is_empty() {
        // What stands before the first delimiter has no head.
        let mut name = String::new();
        if let Some(behind) = rest.strip_prefix(delimiter.as_bytes()) {
            out.extend_from_slice(delimiter.as_bytes());
            rest = part_head(behind, &mut name, out);
        }
        let (content, after) = rest.split_at_checked(end.find(rest).unwrap_or(rest.len())).unwrap_or((rest, b""));
        part(content, &name, masker, out);
        rest = after;
    }
}

/// What stands behind a delimiter, with the lines of the head and the empty line that ends it. Gives what follows.
fn part_head<'a>(bytes: &'a [u8], name: &mut String, out: &mut Vec<u8>) -> &'a [u8] {
    let (line, mut rest) = split_line(bytes);
    mask::bytes(line, out);
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        rest = after;
        if line.trim_ascii().is_empty() {
            out.extend_from_slice(line);
            break;
        }
        head_line(line, name, out);
    }
    rest
}

/// The first line with its end, and the rest.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let len = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    bytes.split_at_checked(len).unwrap_or((bytes, b""))
}

fn head_line(line: &[u8], name: &mut String, out: &mut Vec<u8>) {
    let Some((field, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
        return mask::bytes(line, out);
    };
    out.extend_from_slice(field.as_bytes());
    out.push(b':');
    match field.to_ascii_lowercase().as_str() {
        "content-type" | "content-length" | "content-transfer-encoding" => out.extend_from_slice(value.as_bytes()),
        "content-disposition" => disposition(value, name, out),
        _ => out.extend_from_slice(mask::text(value).as_bytes()),
    }
}

/// `form-data; name="file"; filename="…"`.
fn disposition(value: &str, name: &mut String, out: &mut Vec<u8>) {
    for (index, parameter) in value.split(';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        let (key, rest) = parameter.split_once('=').unwrap_or((parameter, ""));
        let word = rest.trim().trim_matches('"');
        if key.trim() == "name" && is_token(word) {
            word.clone_into(name);
            out.extend_from_slice(parameter.as_bytes());
        } else if rest.is_empty() && is_token(key.trim()) {
            out.extend_from_slice(parameter.as_bytes());
        } else if is_token(key.trim().trim_end_matches('*')) {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(mask::text(rest).as_bytes());
        } else {
            out.extend_from_slice(mask::text(parameter).as_bytes());
        }
    }
}

fn part(content: &[u8], name: &str, masker: &mut Masker, out: &mut Vec<u8>) {
    let value = std::str::from_utf8(content).unwrap_or_default().trim();
    match treatment(name) {
        Treatment::Enumeration if is_enumeration(value) && !value.is_empty() => out.extend_from_slice(content),
        Treatment::Model if is_public_model(value) && !value.is_empty() => out.extend_from_slice(content),
        _ => body::text(content, masker, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_may_be_quoted() {
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"a b\""), Some("a b"));
        assert_eq!((boundary("text/plain; boundary=b"), boundary("multipart/form-data")), (None, None));
    }

    #[test]
    fn fields_and_files_are_masked_and_heads_stay() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"Ann.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\
            ID3\xFF\x00abc\r\n--b--\r\n";
        let after = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"xxx.xx1\"\r\nContent-Type: audio/mpeg\r\n\r\n\
            xx1\xFF\x00xxx\r\n--b--\r\n";
        let mut out = Vec::new();
        redact(body, "b", &mut Masker::default(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(after));
    }
}
