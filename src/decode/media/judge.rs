//! Is a string media? Told from its first bytes, for they are all that is held back.

use super::base64::{Base64, is_base64};
use super::escape::{Escape, Step};
use super::mime::{FIRST, is_type, sniff};

/// Bytes of a string, as written, that are looked at; and the shortest bare base64 that is taken for media. Shorter
/// ones cost a trace little, and are more often keys or ids.
pub const BARE_MIN: usize = 1024;
/// The shortest data URI that is taken for media, in bytes as written.
pub const URI_MIN: usize = 64;
/// Longest beginning of a data URI that is read, up to its comma; it has the type, and perhaps a file's name.
const HEADER_MAX: usize = 256;

/// What bare base64 needs to be media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// Its length is enough: its member's name tells.
    Enough,
    /// It must begin like media, too.
    Sniffed,
    /// It never is.
    Never,
}

/// What the first bytes tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not yet anything.
    More,
    /// It is no media.
    Text,
    /// Base64 begins behind `skip` bytes; `mime` is what the data URI says.
    Media { skip: usize, mime: Option<String> },
}

/// Judges a string by the bytes behind its opening quote, of which [`BARE_MIN`] are enough. More bytes never change a
/// verdict other than `More`.
pub(super) fn judge(text: &[u8], bare: Bare) -> Verdict {
    match header(text) {
        Header::Uri { skip, mime } => uri(text, skip, mime),
        Header::More => Verdict::More,
        Header::None if bare == Bare::Never => Verdict::Text,
        Header::None => judge_bare(text, bare),
    }
}

enum Header {
    /// It is not known yet whether it is a data URI.
    More,
    /// It is no data URI with base64.
    None,
    Uri {
        skip: usize,
        mime: Option<String>,
    },
}

/// Reads `data:<mime>[;params];base64,` (RFC 2397).
fn header(text: &[u8]) -> Header {
    let mut scheme = b"data:".iter();
    let mut escape = Escape::None;
    let mut header = Vec::new();
    for (at, byte) in text.iter().enumerate().take(HEADER_MAX) {
        let character = match escape.step(*byte) {
            Step::Wait => continue,
            Step::Character(character) => character,
            Step::Other | Step::End => return Header::None,
        };
        match (scheme.next(), character) {
            (Some(expected), _) if character.eq_ignore_ascii_case(expected) => {}
            (Some(_), _) => return Header::None,
            (None, b',') => {
                return uri_mime(&header).map_or(Header::None, |mime| Header::Uri { skip: at + 1, mime });
            }
            (None, _) => header.push(character),
        }
    }
    if text.len() < HEADER_MAX { Header::More } else { Header::None }
}

/// The type in `<mime>[;params];base64`; an empty one is none. None where that is not what `header` is.
fn uri_mime(header: &[u8]) -> Option<Option<String>> {
    const ENCODING: &[u8] = b";base64";
    let (front, encoding) = header.split_at_checked(header.len().checked_sub(ENCODING.len())?)?;
    let mime = front.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_ours = encoding.eq_ignore_ascii_case(ENCODING) && (mime.is_empty() || is_type(mime));
    is_ours.then(|| String::from_utf8(mime.to_vec()).ok().filter(|mime| !mime.is_empty()))
}

/// A data URI is media once it is long enough and nothing in its first bytes is wrong.
fn uri(text: &[u8], skip: usize, mime: Option<String>) -> Verdict {
    let mut escape = Escape::None;
    for byte in text.get(skip..URI_MIN.min(text.len())).unwrap_or_default() {
        match escape.step(*byte) {
            Step::Wait => {}
            Step::Character(character) if is_base64(character) || b"=\n\r".contains(&character) => {}
            _ => return Verdict::Text,
        }
    }
    if text.len() < URI_MIN { Verdict::More } else { Verdict::Media { skip, mime } }
}

fn judge_bare(text: &[u8], bare: Bare) -> Verdict {
    let mut escape = Escape::None;
    let mut first = [b'='; FIRST.div_ceil(3) * 4];
    let mut to = first.iter_mut();
    let mut is_padded = false;
    for byte in text.iter().take(BARE_MIN) {
        match escape.step(*byte) {
            Step::Wait | Step::Character(b'\n' | b'\r') => {}
            Step::Character(b'=') => is_padded = true,
            Step::Character(character) if is_base64(character) && !is_padded => {
                to.next().into_iter().for_each(|to| *to = character);
            }
            _ => return Verdict::Text,
        }
    }
    match bare {
        _ if text.len() < BARE_MIN => Verdict::More,
        Bare::Sniffed if !begins_like_media(&first) => Verdict::Text,
        _ => Verdict::Media { skip: 0, mime: None },
    }
}

fn begins_like_media(base64: &[u8]) -> bool {
    let mut is_media = false;
    Base64::default().push(base64, &mut |bytes| is_media = sniff(bytes).is_some());
    is_media
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn media(skip: usize, mime: &str) -> Verdict {
        Verdict::Media { skip, mime: Some(mime.to_owned()).filter(|mime| !mime.is_empty()) }
    }

    #[test]
    fn data_uris() {
        let long = "A".repeat(URI_MIN);
        for (start, verdict) in [
            ("data:image/png;base64,", media(22, "image/png")),
            ("DATA:image/png;Base64,", media(22, "image/png")),
            (r"data:image\/png;base64,\/", media(23, "image/png")),
            (r"data:image/svg\u002Bxml;base64,", media(31, "image/svg+xml")),
            ("data:application/pdf;name=a.pdf;base64,", media(39, "application/pdf")),
            ("data:;base64,", media(13, "")),
            ("data:text/plain,", Verdict::Text),
            ("data:image/png,base64,", Verdict::Text),
            ("data:image;base64,", Verdict::Text),
            ("data:image/png;base64,!", Verdict::Text),
            ("data:base64,", Verdict::Text),
            ("data, ", Verdict::Text),
            ("date", Verdict::Text),
        ] {
            assert_eq!(judge(format!("{start}{long}\"").as_bytes(), Bare::Never), verdict, "{start}");
        }
        assert_eq!(judge(b"data:image/png;base64,iVBORw0KGgo=\"", Bare::Never), Verdict::Text);
        assert_eq!(judge(b"data:image/png;base64,iVBORw0KGgo=", Bare::Never), Verdict::More);
        let name = "n".repeat(HEADER_MAX - 32);
        assert_eq!(
            judge(format!("data:image/png;name={name};base64,").as_bytes(), Bare::Never),
            media(252, "image/png")
        );
        let name = "n".repeat(HEADER_MAX);
        assert_eq!(judge(format!("data:image/png;name={name};base64,").as_bytes(), Bare::Never), Verdict::Text);
    }

    #[test]
    fn bare_base64() {
        let png = format!("iVBORw0KGgo{}", "A".repeat(BARE_MIN));
        let text = "a".repeat(BARE_MIN);
        assert_eq!(judge(png.as_bytes(), Bare::Sniffed), media(0, ""));
        assert_eq!(judge(text.as_bytes(), Bare::Enough), media(0, ""));
        assert_eq!(judge(text.as_bytes(), Bare::Sniffed), Verdict::Text);
        assert_eq!(judge(text.as_bytes(), Bare::Never), Verdict::Text);
        assert_eq!(judge(&text.as_bytes()[1..], Bare::Enough), Verdict::More);
        let short = format!("{}\"", text.get(1..).unwrap());
        assert_eq!(judge(short.as_bytes(), Bare::Enough), Verdict::Text);
        for odd in ["a b", "a=b", r"a\t", r"\u00e4", r"\u0100", "é"] {
            assert_eq!(judge(format!("{odd}{text}").as_bytes(), Bare::Enough), Verdict::Text, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_verdict(
            start in r#"(data:)?[a-z/;,]{0,8}(;base64,)?([A-Za-z0-9+/=_-]|\\[/nrtu"]|\\u00[24][0-9A-F]){0,40}["!]?"#,
            bare in prop_oneof![Just(Bare::Enough), Just(Bare::Sniffed), Just(Bare::Never)],
            fill in prop_oneof![Just(0), Just(BARE_MIN)],
        ) {
            let text = format!("{start}{}\"", "A".repeat(fill));
            let text = &text.as_bytes()[..text.len().min(BARE_MIN)];
            let whole = judge(text, bare);
            let first = (0..=text.len()).map(|len| judge(&text[..len], bare)).find(|verdict| *verdict != Verdict::More);
            prop_assert_eq!(first.unwrap_or(Verdict::More), whole);
        }
    }
}
