//! Types of configuration values that also read their string forms: Kong's form-encoded Admin API delivers
//! `config.langfuse_timeout=5000` as the string `"5000"`.

use serde::{Deserialize, Deserializer};

use super::{ProjectList, Protocol, Secret};

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

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Flag(bool),
    Count(u64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

fn refuse<'de, D: Deserializer<'de>, T>(what: &str) -> Result<T, D::Error> {
    Err(serde::de::Error::custom(what))
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Raw::deserialize(deserializer) {
            Ok(Raw::Flag(flag)) => Ok(Self(flag)),
            Ok(Raw::Text(text)) if text == "true" => Ok(Self(true)),
            Ok(Raw::Text(text)) if text == "false" => Ok(Self(false)),
            _ => refuse::<D, _>("must be true or false"),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Raw::deserialize(deserializer) {
            Ok(Raw::Count(number)) => Some(number),
            // Lua has one number type: Kong may write 5000 as 5000.0 or 5e3.
            Ok(Raw::Float(number)) => whole(number),
            Ok(Raw::Text(text)) => text.parse().ok(),
            _ => None,
        };
        number.map_or_else(|| refuse::<D, _>("must be a whole number, 0 or more"), |number| Ok(Self(number)))
    }
}

fn whole(number: f64) -> Option<u64> {
    let fits = number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    fits.then_some(number as u64)
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = match Raw::deserialize(deserializer) {
            Ok(Raw::List(words)) => words,
            Ok(Raw::Text(text)) => text.split(',').map(str::to_owned).collect(),
            _ => return refuse::<D, _>("must be a list of strings"),
        };
        Ok(Self(words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()))
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Raw::deserialize(deserializer) {
            Ok(Raw::Text(text)) => match text.as_str() {
                "debug" => Ok(Self::Debug),
                "info" => Ok(Self::Info),
                "warn" | "warning" => Ok(Self::Warn),
                "error" => Ok(Self::Error),
                _ => refuse::<D, _>("must be debug, info, warn or error"),
            },
            _ => refuse::<D, _>("must be debug, info, warn or error"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Raw::deserialize(deserializer) {
            Ok(Raw::Text(text)) => Ok(Self::new(text)),
            _ => refuse::<D, _>("must be a string"),
        }
    }
}

/// A default, as the documentation shows it.
pub(super) trait Shown {
    /// JSON text; empty where there is none.
    fn shown(&self) -> String;
}

impl Shown for Flag {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl Shown for Count {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl Shown for Words {
    fn shown(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

impl Shown for LogLevel {
    fn shown(&self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Shown for Protocol {
    fn shown(&self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Shown for ProjectList {
    fn shown(&self) -> String {
        "[]".to_owned()
    }
}

impl<T> Shown for Option<T> {
    fn shown(&self) -> String {
        String::new()
    }
}
