//! The export call's headers (docs/design.md, "Export"). `content-length` is the host's to add.

use super::Api;
use crate::config::Target;

/// Names and values of a callout's headers.
pub type HeaderList<'a> = Vec<(&'static str, &'a str)>;

/// Headers of a batch for an API of `target`; `path` is that of its endpoint.
#[must_use]
pub fn headers<'a>(target: &'a Target, api: Api, path: &'a str) -> HeaderList<'a> {
    let mut headers = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", &target.endpoint.authority),
        (":scheme", if target.endpoint.https { "https" } else { "http" }),
        ("content-type", if api == Api::Otlp { "application/x-protobuf" } else { "application/json" }),
        // 4 = written at once; without it traces appear up to ten minutes later.
        ("x-langfuse-ingestion-version", "4"),
        ("x-langfuse-sdk-name", env!("CARGO_PKG_NAME")),
        ("x-langfuse-sdk-version", env!("CARGO_PKG_VERSION")),
        ("user-agent", concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))),
    ];
    headers.extend(target.authorization.as_ref().map(|keys| ("authorization", keys.expose())));
    headers
}
