//! What the gateway knows of a call beside its bytes: by what, and how long its upstream took.

use crate::trace::MetadataValue;

/// What the gateway is, and what nginx knows a request by; empty on Envoy, whose randomness needs no help.
#[derive(Debug, Default, Clone, Copy)]
pub struct GatewayIds<'a> {
    /// `$request_id`: 32 hex digits of OpenSSL's randomness.
    pub request: &'a [u8],
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

/// How often the upstream was asked, where that was more than once: of nginx's times, one stands for each attempt.
#[must_use]
pub fn attempts_of_times(value: &[u8]) -> Option<GatewayFact> {
    let times = value.split(|byte| matches!(byte, b',' | b':')).filter(|time| !time.trim_ascii().is_empty());
    attempts(u64::try_from(times.count()).unwrap_or(u64::MAX))
}

/// The same of Envoy's `upstream.request_attempt_count`.
#[must_use]
pub fn attempts_of_count(value: &[u8]) -> Option<GatewayFact> {
    attempts(number(value)?)
}

fn attempts(count: u64) -> Option<GatewayFact> {
    let count = i64::try_from(count).ok().filter(|count| *count > 1)?;
    Some(("gateway.attempts", MetadataValue::Int(count)))
}

/// A number as Envoy writes them: <https://github.com/proxy-wasm/spec>, 8 bytes, the lowest first.
fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

/// Envoy's response flags by their short names, from the lowest bit: those of its access logs' `%RESPONSE_FLAGS%`
/// (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>, bits as
/// `CoreResponseFlag` of `envoy/stream_info/stream_info.h` counts them).
const FLAGS: [&str; 28] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO",
];

/// Envoy's `response.flags`, where there are any: why it, and not the upstream, answered, or gave up.
#[must_use]
pub fn response_flags(value: &[u8]) -> Option<GatewayFact> {
    let bits = number(value)?;
    let names: Vec<&str> =
        FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    (!names.is_empty()).then(|| ("gateway.response_flags", names.join(",").into()))
}

/// Envoy itself answered, and not the upstream, as far as its `response.code_details` say: those of an answer that is the
/// upstream's tell who ended it.
#[must_use]
pub(super) fn is_own_answer(status: u16, details: &str) -> bool {
    let ends = ["via_upstream", "downstream", "http1.", "http2.", "http3.", "upstream_reset_after_response_started"];
    let is_end = ends.iter().any(|end| details.starts_with(end)) || (status < 400 && details.contains("timeout"));
    !details.is_empty() && !is_end
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
    fn attempts_are_told_where_there_was_more_than_one() {
        let of_times = |value: &str| attempts_of_times(value.as_bytes()).map(|(_, count)| count);
        for (times, wanted) in
            [("0.150", None), ("-", None), ("", None), ("0.002, 0.150 : 0.001", Some(3)), ("-, 0.1", Some(2))]
        {
            assert_eq!(of_times(times), wanted.map(MetadataValue::Int), "{times}");
        }
        let of_count = |count: u64| attempts_of_count(&count.to_le_bytes()).map(|(_, count)| count);
        assert_eq!((of_count(0), of_count(1), of_count(3)), (None, None, Some(MetadataValue::Int(3))));
        assert_eq!((attempts_of_count(b"3"), of_count(u64::MAX)), (None, None));
    }

    #[test]
    fn response_flags_have_names() {
        let flags = |bits: u64| response_flags(&bits.to_le_bytes()).map(|(_, names)| names);
        assert_eq!(flags(1 << 1 | 1 << 15), Some("UH,URX".into()));
        assert_eq!((flags(0), flags(1 << 63), response_flags(b"")), (None, None, None));
    }

    #[test]
    fn an_answer_of_the_gateway_is_told_from_the_ending_of_the_upstreams() {
        for (status, details, own) in [
            (200, "direct_response", true),
            (200, "via_upstream", false),
            (200, "downstream_remote_disconnect", false),
            (200, "upstream_reset_after_response_started{connection_termination}", false),
            (200, "stream_idle_timeout", false),
            (200, "", false),
            (503, "no_healthy_upstream", true),
            (503, "upstream_reset_before_response_started{connection_failure}", true),
            (504, "response_timeout", true),
            (404, "route_not_found", true),
            (429, "via_upstream", false),
        ] {
            assert_eq!(is_own_answer(status, details), own, "{status} {details}");
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
