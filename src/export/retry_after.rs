//! The header `retry-after`: seconds, or a date (RFC 9110 section 10.2.3:
//! <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>).

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longest time that a server may make us wait.
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait, at most five minutes; none where the value says nothing of the kind.
pub(super) fn retry_after(value: &[u8], now_ns: u64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::from_nanos(date_ns(text)?.saturating_sub(now_ns)),
    };
    Some(wait.min(LONGEST))
}

/// Nanoseconds since 1970 of a date in the form that servers must send: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date_ns(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i8::try_from(MONTHS.iter().position(|month| *month == name)? + 1).ok()?;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    (words.next()? == "GMT" && words.next().is_none()).then_some(())?;
    let date = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let seconds = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(u64::try_from(seconds).ok()?.saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 784_111_777 * 1_000_000_000;

    #[test]
    fn seconds_and_dates_are_read_and_capped() {
        for (value, wait) in [
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("999999999", Some(300)),
            ("Sun, 06 Nov 1994 08:49:49 GMT", Some(12)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 2999 23:59:59 GMT", Some(300)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:49 CET", None),
            ("Sun, 32 Nov 1994 08:49:49 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value.as_bytes(), NOON), wait.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(b"\xFF", NOON), None);
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_does_harm(value in prop::collection::vec(any::<u8>(), 0..60), now: u64) {
            prop_assert!(retry_after(&value, now).is_none_or(|wait| wait <= LONGEST));
        }
    }
}
