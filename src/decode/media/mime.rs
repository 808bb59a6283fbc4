//! What kind of media bytes are: the media type a caller gave, or the one their first bytes tell
//! (WHATWG MIME Sniffing, <https://mimesniff.spec.whatwg.org/#matching-a-mime-type-pattern>).

/// Longest media type that is taken; the longest in use (of Office documents) have 73 bytes.
pub(super) const TYPE_MAX: usize = 96;
/// First bytes that are looked at.
pub(super) const FIRST: usize = 12;
/// The type of bytes that nothing is known of.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// The media type that `bytes` begin like.
pub(super) fn sniff(bytes: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 12] = [
        (b"\x89PNG\r\n\x1A\n", "image/png"),
        (b"\xFF\xD8\xFF", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"ID3", "audio/mpeg"),
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"\x1A\x45\xDF\xA3", "video/webm"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"PK\x03\x04", "application/zip"),
    ];
    let at = |from: usize| bytes.get(from..from + 4).unwrap_or_default();
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(kind);
    }
    match (at(0), at(4), at(8)) {
        (b"RIFF", _, b"WAVE") => Some("audio/wav"),
        (b"RIFF", _, b"WEBP") => Some("image/webp"),
        (_, b"ftyp", b"M4A ") => Some("audio/mp4"),
        (_, b"ftyp", _) => Some("video/mp4"),
        // A frame of MPEG audio: eleven set bits and a layer; without a layer it is AAC in ADTS.
        ([0xFF, second, ..], _, _) if second & 0xE0 == 0xE0 && second & 0x06 != 0 => Some("audio/mpeg"),
        ([0xFF, second, ..], _, _) if second & 0xF6 == 0xF0 => Some("audio/aac"),
        _ => None,
    }
}

/// Reads what a caller wrote as media type or format: `image/png`, or `png`. None where it names no media.
pub(super) fn from_name(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    if name.contains('/') {
        return is_type(name.as_bytes()).then(|| name.to_owned());
    }
    let (kind, subtype) = match name {
        "jpg" | "jpeg" => ("image", "jpeg"),
        "png" | "gif" | "webp" => ("image", name),
        "mp3" => ("audio", "mpeg"),
        "wav" | "flac" | "ogg" | "opus" | "aac" | "m4a" => ("audio", name),
        "mp4" | "webm" | "mov" | "mkv" => ("video", name),
        "pdf" => ("application", name),
        _ => return None,
    };
    Some(format!("{kind}/{subtype}"))
}

/// `text` may stand for a media type as it is, in JSON, too: `type/subtype` of RFC 6838's characters.
pub(in crate::decode) fn is_type(text: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(b);
    let mut parts = text.split(|b| *b == b'/');
    let mut part = || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(is_plain));
    text.len() <= TYPE_MAX && part() && part() && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1A\n...."[..], Some("image/png")),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x01\x02\x03\x04WAVEfmt ", Some("audio/wav")),
            (b"RIFF\x01\x02\x03\x04AVI LIST", None),
            (b"\0\0\0\x20ftypM4A ", Some("audio/mp4")),
            (b"\0\0\0\x20ftypisom", Some("video/mp4")),
            (b"\xFF\xF3\x64\xC4", Some("audio/mpeg")),
            (b"\xFF\xF1\x64\xC4", Some("audio/aac")),
            (b"\xFF\xE0\x64\xC4", None),
            (b"\xFF\xF3", None),
            (b"\x80\0\0\0\0i7y", None),
            (b"", None),
        ] {
            assert_eq!(sniff(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn names_become_types() {
        for (name, kind) in [
            ("image/png", Some("image/png")),
            ("application/vnd.openxmlformats-officedocument.presentationml.presentation", None),
            ("wav", Some("audio/wav")),
            ("mp3", Some("audio/mpeg")),
            ("json", None),
            ("openai-responses-v1", None),
            ("a/b/c", None),
            ("image/", None),
            ("image/p\"ng", None),
        ] {
            let long = name.starts_with("application/").then_some(name);
            assert_eq!(from_name(name.as_bytes()).as_deref(), long.or(kind), "{name}");
        }
        assert!(is_type(format!("a/{}", "b".repeat(TYPE_MAX - 2)).as_bytes()));
        assert!(!is_type(format!("a/{}", "b".repeat(TYPE_MAX - 1)).as_bytes()));
    }
}
