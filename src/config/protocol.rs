//! Which of Langfuse's two APIs takes the traces.

use super::values::FromJson;
use crate::json::Value;

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

impl FromJson for Protocol {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        match value.text().as_deref() {
            Some("auto") => Ok(Self::Auto),
            Some("otlp") => Ok(Self::Otlp),
            Some("ingestion") => Ok(Self::Ingestion),
            _ => Err("must be auto, otlp or ingestion".to_owned()),
        }
    }
}
