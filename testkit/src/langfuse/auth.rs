//! Basic authentication (RFC 7617), stricter than Langfuse: there a wrong public key only makes a warning.

use super::StandInOptions;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A request that is turned away: status and JSON body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Refusal {
    pub(super) fn new(status: u16, key: &str, text: &str) -> Self {
        Self { status, body: serde_json::json!({ key: text }).to_string() }
    }
}

/// Checks the `authorization` header.
pub(super) fn check(header: Option<&str>, options: &StandInOptions) -> Result<(), Refusal> {
    let header = header.ok_or_else(|| Refusal::new(401, "message", "No authorization header"))?;
    let (scheme, credentials) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::new(403, "message", "Access denied: insufficient permissions"));
    }
    let wanted = STANDARD.encode(format!("{}:{}", options.public_key, options.secret_key));
    match scheme.eq_ignore_ascii_case("basic") && credentials == wanted {
        true => Ok(()),
        false => {
            Err(Refusal::new(401, "message", "Invalid credentials. Confirm that you've configured the correct host."))
        }
    }
}
