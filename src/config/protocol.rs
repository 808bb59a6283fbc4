//! Which of Langfuse's two APIs takes the traces.

use serde::Deserialize;

/// What the configuration allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP; the legacy ingestion API where the server has no OTLP.
    #[default]
    Auto,
    /// OTLP only.
    Otlp,
    /// The legacy ingestion API only.
    Ingestion,
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer).as_deref() {
            Ok("auto") => Ok(Self::Auto),
            Ok("otlp") => Ok(Self::Otlp),
            Ok("ingestion") => Ok(Self::Ingestion),
            _ => Err(serde::de::Error::custom("must be auto, otlp or ingestion")),
        }
    }
}
