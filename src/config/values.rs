//! Types of configuration values that also read their string forms: Kong's form-encoded Admin API delivers
//! `config.langfuse_timeout=5000` as the string `"5000"`.

use std::borrow::Cow;

use super::Secret;
use crate::json::Value;

/// A type of values.
pub(super) trait FromJson: Sized {
    /// Reads a value that is not `null`.
    ///
    /// # Errors
    /// What to write instead; never the value.
    fn from_json(value: Value<'_>) -> Result<Self, String>;
}

/// A key of the configuration, to be set.
pub(super) trait Setting {
    /// Sets it to a value that is not `null`; errors are those of [`FromJson::from_json`].
    fn set(&mut self, value: Value<'_>) -> Result<(), String>;
}

impl<T: FromJson> Setting for T {
    fn set(&mut self, value: Value<'_>) -> Result<(), String> {
        *self = T::from_json(value)?;
        Ok(())
    }
}

/// A boolean, also `"true"` and `"false"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

/// A whole number of at least 0, also as a string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count(pub u64);

/// A list of strings, also one string with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// What a root context writes to the gateway's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything, with one line a call.
    Debug,
    /// State changes of the export.
    Info,
    /// What needs an operator.
    Warn,
    /// What cannot go on without one.
    Error,
}

#[inline(never)]
fn some_or<T>(value: Option<T>, problem: &str) -> Result<T, String> {
    value.ok_or_else(|| problem.to_owned())
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        T::from_json(value).map(Some)
    }
}

impl FromJson for Flag {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let flag = match value.text().as_deref().unwrap_or(value.raw()) {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        some_or(flag, "must be true or false").map(Self)
    }
}

impl FromJson for Count {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let number = match value.text() {
            Some(text) => text.parse().ok(),
            None => whole(value.raw()),
        };
        some_or(number, "must be a whole number, 0 or more").map(Self)
    }
}

/// The whole number that `json` is. Lua has one number type: Kong may write 5000 as 5000.0 or 5e3.
fn whole(json: &str) -> Option<u64> {
    let (json, is_negative) = json.strip_prefix('-').map_or((json, false), |json| (json, true));
    let (digits, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // How many digits stand before the point; the others must be 0.
    let before = i32::try_from(whole.len()).ok()?.checked_add(exponent.parse().ok()?)?;
    let mut number = 0_u64;
    let mut place = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = char::from(digit).to_digit(10)?;
        match place < before {
            true => number = number.checked_mul(10)?.checked_add(digit.into())?,
            false if digit != 0 => return None,
            false => {}
        }
        place += 1;
    }
    while number > 0 && place < before {
        number = number.checked_mul(10)?;
        place += 1;
    }
    (number == 0 || !is_negative).then_some(number)
}

impl FromJson for Words {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let words: Option<Vec<String>> = match value.text() {
            Some(text) => Some(text.split(',').map(str::to_owned).collect()),
            None if value.is_array() => value.items().map(|word| Some(word.text()?.into_owned())).collect(),
            None => None,
        };
        let words = some_or(words, "must be a list of strings")?;
        Ok(Self(words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()))
    }
}

impl FromJson for LogLevel {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let level = match value.text().as_deref() {
            Some("debug") => Some(Self::Debug),
            Some("info") => Some(Self::Info),
            Some("warn" | "warning") => Some(Self::Warn),
            Some("error") => Some(Self::Error),
            _ => None,
        };
        some_or(level, "must be debug, info, warn or error")
    }
}

impl FromJson for String {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        some_or(value.text().map(Cow::into_owned), "must be a string")
    }
}

impl FromJson for Secret {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        String::from_json(value).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_are_read_in_every_notation() {
        for (json, number) in [
            ("5000", Some(5000)),
            ("5000.0", Some(5000)),
            ("5e3", Some(5000)),
            ("5.12E+2", Some(512)),
            ("51200e-2", Some(512)),
            ("0e999999999", Some(0)),
            ("0.0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e20", None),
            ("1e99999999999", None),
            ("1e-1", None),
            ("1.5", None),
            ("-0.0", Some(0)),
            ("-1", None),
            ("--0", None),
            ("true", None),
            ("[1]", None),
            ("null", None),
        ] {
            assert_eq!(whole(json), number, "{json}");
        }
    }

    proptest! {
        #[test]
        fn a_whole_number_is_what_a_parser_reads(digits in 0_u64..1 << 50, exponent in -3_i32..=3) {
            let json = format!("{digits}e{exponent}");
            let number: f64 = json.parse().unwrap();
            let expected = (number.fract() == 0.0 && number < 9e15).then_some(number as u64);
            prop_assume!(number < 9e15);
            prop_assert_eq!(whole(&json), expected);
        }
    }
}
