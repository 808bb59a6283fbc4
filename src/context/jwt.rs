//! The claims of a JWT (RFC 7519, <https://www.rfc-editor.org/rfc/rfc7519#section-3>) that the gateway has verified.
//!
//! Nothing is verified here: whether a token may be believed is the gateway's to find out and the operator's to say
//! (`verified_jwt`). The token itself is never kept: only its payload is, and of that only the claims that are asked for
//! are exported.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};

/// Bytes of the longest payload.
const PAYLOAD_MAX: usize = 16 * 1024;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The payload of a header's value: a token (also behind `Bearer`), or a payload alone (as Envoy's
/// `forward_payload_header` has it).
pub(super) fn payload(value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    let token = match value.split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => value,
    };
    let mut parts = token.split(|byte| *byte == b'.');
    let payload = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(payload), None, ..) | (Some(_), Some(payload), Some(_), None) => payload,
        _ => return None,
    };
    if payload.len() > PAYLOAD_MAX {
        return None;
    }
    BASE64URL.decode(payload).ok().filter(|json| json.first() == Some(&b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_a_token_is_found_and_nothing_else_is_taken_for_one() {
        let claims = br#"{"sub":"ann"}"#;
        let coded = BASE64URL.encode(claims).trim_end_matches('=').to_owned();
        for value in [
            format!("Bearer e30.{coded}.sig"),
            format!("bearer  e30.{coded}.sig "),
            format!("e30.{coded}."),
            coded.clone(),
            format!("{coded}=="),
        ] {
            assert_eq!(payload(value.as_bytes()).as_deref(), Some(&claims[..]), "{value}");
        }
        for value in ["", "Bearer", "Bearer sk-123", "a.b", "Basic YTpi", "a.b.c.d.e", "Bearer a.!.c"] {
            assert_eq!(payload(value.as_bytes()), None, "{value}");
        }
        assert_eq!(payload(BASE64URL.encode("[1]").as_bytes()), None);
        assert_eq!(payload("e".repeat(PAYLOAD_MAX + 1).as_bytes()), None);
    }
}
