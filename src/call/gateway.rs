//! What the gateway knows of a call beside its bytes: by what, and how long its upstream took.

use crate::trace::MetadataValue;

/// What the gateway is, and what nginx knows a request by; empty on Envoy, whose randomness needs no help.
#[derive(Debug, Default, Clone, Copy)]
pub struct GatewayIds<'a> {
    /// `$request_id`: 32 hex digits of OpenSSL's randomness.
    pub request: &'a [u8],
    /// `$connection`: serial number of the connection.
    pub connection: &'a [u8],
    /// It is Kong, whose authentication sets (and takes away) the headers that name consumers.
    pub is_kong: bool,
}

/// Something that the gateway says of a call, by its metadata key.
pub type GatewayFact = (&'static str, MetadataValue<'static>);

/// One of nginx's `$upstream_…_time`: seconds; as text, where several upstreams were tried (`0.002, 0.150`); none where
/// no upstream got that far (`-`). See <https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables>.
#[must_use]
pub fn upstream_time(value: &[u8]) -> Option<MetadataValue<'static>> {
    const LONGEST: usize = 200;
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(MetadataValue::Float(seconds));
    }
    let times = text.bytes().all(|byte| byte.is_ascii_digit() || b".,:- ".contains(&byte));
    let said = text.bytes().any(|byte| byte.is_ascii_digit()) && text.len() <= LONGEST;
    (times && said).then(|| text.to_owned().into())
}

/// Kong of this version (`kong.version`) has metrics for filters: 3.8 and later.
#[must_use]
pub fn kong_has_metrics(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (3, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kong_has_metrics_since_3_8() {
        for (version, has) in [
            ("3.7.1", false),
            ("3.8.0", true),
            ("3.9.3", true),
            ("3.10.0.1", true),
            ("4.0", true),
            ("2.8.1", false),
            ("3", false),
            ("x.y", false),
        ] {
            assert_eq!(kong_has_metrics(version), has, "{version}");
        }
    }

    #[test]
    fn upstream_times_are_numbers_where_there_is_one() {
        for (value, wanted) in [
            ("0.150", Some(MetadataValue::Float(0.15))),
            ("0.002, 0.150 : 0.001", Some("0.002, 0.150 : 0.001".into())),
            ("-, 0.150", Some("-, 0.150".into())),
            ("-", None),
            ("", None),
            ("inf", None),
            ("NaN", None),
            ("<script>1", None),
        ] {
            assert_eq!(upstream_time(value.as_bytes()), wanted, "{value}");
        }
        assert_eq!(upstream_time(&[0xff, b'1']), None);
        assert_eq!(upstream_time("1, ".repeat(100).as_bytes()), None);
    }
}
