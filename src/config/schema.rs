//! `filters/ai-tracing.meta.json`: what Kong reads beside the module. Written by `make docs`, never part of the module.
//!
//! Kong 3.5 to 3.9 checks a filter's configuration with `config_schema` before it stores it, and takes the labels out of
//! metric names by `metrics.label_patterns`
//! (<https://docs.konghq.com/gateway/3.9.x/plugin-development/wasm/filter-configuration/>). Its validator
//! (`lua-resty-ljsonschema`) knows draft 4 alone, stops Kong at start-up where the file is not valid, matches patterns by
//! PCRE, and up to 1.1 compiles an `enum` that holds null to broken code: so there is no `enum` here.
//!
//! The schema accepts what the parser accepts, the strings of form-encoded requests included: in draft 4, `pattern` is
//! asked of strings alone and `minimum` of numbers alone, so that one flat property serves all forms of a value.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::ops::RangeInclusive;

use super::entries::Entries;
use super::file::properties;
use super::values::{Count, Flag, LogLevel, Words};
use super::{Protocol, Secret};
use crate::context::{Lists, ParentMode, TrustCaller, VerifiedJwt};

/// The draft that Kong's validator reads.
const DRAFT: &str = "http://json-schema.org/draft-04/schema#";

/// What a URL must look like for [`super::Endpoint::parse`] to take it. `\x25` is `%`, which the validator's messages
/// must not hold.
const ENDPOINT: &str =
    concat!(r"^\s*https?://([A-Za-z0-9._-]+|\[[A-Za-z0-9._\[\]:\x25-]*\])", r"(:\+?0*(PORT))?(/[^?#@]*)?\s*$");

/// What Langfuse stores as an environment; the parser lowers the case.
const ENVIRONMENT: &str = r"^\s*(?![Ll][Aa][Nn][Gg][Ff][Uu][Ss][Ee])[A-Za-z0-9_-]{1,40}\s*$";

/// The labels that names of [`crate::counters::Counter`] and [`crate::measures`] carry: the first group is cut out of the
/// name, the second is the value. Kong's Prometheus plugin (kong/plugins/prometheus/wasmx.lua) begins each pattern where the
/// last match ended, and takes that end for the end of the first group: so they stand in the order of the names, and what
/// must follow a label is only looked at.
const LABELS: [(&str, &str); 4] = [
    ("reason", "(_reason=([a-z_]+))$"),
    ("result", "(_result=([a-z_]+?))(?=_provider=|$)"),
    ("provider", "(_provider=([a-z0-9_]+?))(?=_model=)"),
    ("model", "(_model=(.+))$"),
];

/// The schema of one key's value.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Property {
    description: &'static str,
    #[serde(rename = "type")]
    types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiple_of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Items>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_properties: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
}

#[derive(Debug, Clone, serde::Serialize)]
struct Items {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Property {
    /// The property of `key`, whose default is `value`.
    pub(super) fn new(key: &str, value: &impl Shape) -> Self {
        let mut property = Self { default: value.value(), ..Self::default() };
        value.shape(&mut property);
        property.types.push("null"); // Kong writes null for what is not set.
        match key {
            "langfuse_endpoint" => property.pattern = Some(ENDPOINT.replace("PORT", &decimals(&(1..=65_535)))),
            "environment" => property.pattern = Some(ENVIRONMENT.to_owned()),
            _ => {}
        }
        property
    }

    pub(super) fn describe(&mut self, description: &'static str) {
        self.description = description;
    }

    /// Holds the number, and the string that stands for one, to `range`.
    pub(super) fn limit(&mut self, range: RangeInclusive<u64>) {
        self.pattern = Some(format!(r"^\+?0*({})$", decimals(&range)));
        (self.minimum, self.maximum) = (Some(*range.start()), Some(*range.end()));
    }
}

/// A type of values, as the schema sees it.
pub(super) trait Shape {
    /// Writes what values may look like.
    fn shape(&self, property: &mut Property);

    /// The value itself, where it is a default worth telling.
    fn value(&self) -> Option<Value>;
}

impl Shape for Flag {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["boolean", "string"];
        property.pattern = Some("^(true|false)$".to_owned());
    }

    fn value(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

impl Shape for Count {
    fn shape(&self, property: &mut Property) {
        // Not `integer`, which 5000.0 is not in draft 4.
        property.types = vec!["number", "string"];
        property.multiple_of = Some(1);
    }

    fn value(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

impl Shape for Words {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["array", "object", "string"];
        property.items = Some(Items { kind: "string" });
        property.max_properties = Some(0);
    }

    fn value(&self) -> Option<Value> {
        Some(self.0.clone().into())
    }
}

impl Shape for LogLevel {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
        property.pattern = Some("^(debug|info|warn|warning|error)$".to_owned());
    }

    fn value(&self) -> Option<Value> {
        Some(format!("{self:?}").to_lowercase().into())
    }
}

impl Shape for Protocol {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
        property.pattern = Some("^(auto|otlp|ingestion)$".to_owned());
    }

    fn value(&self) -> Option<Value> {
        Some(format!("{self:?}").to_lowercase().into())
    }
}

impl Shape for Lists {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["object", "array", "string"];
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Object(serde_json::Map::new()))
    }
}

impl Shape for ParentMode {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
        property.pattern = Some("^(auto|trust|foreign|ignore)$".to_owned());
    }

    fn value(&self) -> Option<Value> {
        Some(format!("{self:?}").to_lowercase().into())
    }
}

impl Shape for TrustCaller {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
        property.pattern = Some("^(all|authenticated|none)$".to_owned());
    }

    fn value(&self) -> Option<Value> {
        Some(format!("{self:?}").to_lowercase().into())
    }
}

impl Shape for Option<VerifiedJwt> {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
        property.pattern = Some(r"^\s*(header|metadata):\s*\S".to_owned());
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

/// What an entry says is the parser's to check, which names the entry and the remedy; so is the text of a string.
impl<T> Shape for Entries<T> {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["array", "object", "string"];
        property.items = Some(Items { kind: "object" });
        property.max_properties = Some(0);
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Array(Vec::new()))
    }
}

impl Shape for Option<String> {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

impl Shape for Option<Secret> {
    fn shape(&self, property: &mut Property) {
        property.types = vec!["string"];
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

impl Shape for Option<Flag> {
    fn shape(&self, property: &mut Property) {
        Flag::default().shape(property);
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

/// A default, as the documentation shows it: JSON text, words without their quotes; empty where there is none.
pub(super) fn shown(value: &impl Shape) -> String {
    match value.value() {
        Some(Value::String(word)) => word,
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// A regular expression for the decimal numbers of `range`, without leading zeros.
fn decimals(range: &RangeInclusive<u64>) -> String {
    let (start, end) = (*range.start(), *range.end());
    let mut alternatives = Vec::new();
    let mut least = start;
    while least <= end {
        let digits = least.to_string().len();
        let most = end.min("9".repeat(digits).parse().unwrap_or(u64::MAX));
        of_one_length(&least.to_string(), &most.to_string(), "", &mut alternatives);
        let Some(next) = most.checked_add(1) else { break };
        least = next;
    }
    alternatives.join("|")
}

/// The numbers from `least` to `most`, which have the same number of digits, each behind `prefix`.
fn of_one_length(least: &str, most: &str, prefix: &str, alternatives: &mut Vec<String>) {
    let mut pair = least.chars().zip(most.chars());
    let Some((first, last)) = pair.next() else { return alternatives.push(prefix.to_owned()) };
    let (least, most) = (least.get(1..).unwrap_or_default(), most.get(1..).unwrap_or_default());
    if first == last {
        return of_one_length(least, most, &format!("{prefix}{first}"), alternatives);
    }
    let all = |digits: &str, digit: char| digits.chars().all(|other| other == digit);
    let (from_first, to_last) = (all(least, '0'), all(most, '9'));
    if !from_first {
        of_one_length(least, &"9".repeat(least.len()), &format!("{prefix}{first}"), alternatives);
    }
    let from = if from_first { first } else { char::from(first as u8 + 1) };
    let to = if to_last { last } else { char::from(last as u8 - 1) };
    if from <= to {
        let rest = if least.is_empty() { String::new() } else { format!("[0-9]{{{}}}", least.len()) };
        let digit = if from == to { from.to_string() } else { format!("[{from}-{to}]") };
        alternatives.push(format!("{prefix}{digit}{rest}"));
    }
    if !to_last {
        of_one_length(&"0".repeat(most.len()), most, &format!("{prefix}{last}"), alternatives);
    }
}

/// A JSON object whose members keep their order.
#[derive(Debug)]
struct InOrder<T>(Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for InOrder<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[derive(Debug, serde::Serialize)]
struct MetaFile {
    config_schema: ConfigSchema,
    metrics: Metrics,
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSchema {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    additional_properties: bool,
    properties: InOrder<Property>,
}

#[derive(Debug, serde::Serialize)]
struct Metrics {
    label_patterns: Vec<LabelPattern>,
}

/// The first group of the pattern is cut out of the metric's name, the second is the label's value.
#[derive(Debug, serde::Serialize)]
struct LabelPattern {
    label: &'static str,
    pattern: String,
}

/// The text of `filters/ai-tracing.meta.json`.
///
/// # Errors
/// None in practice: everything in it can be written as JSON.
pub fn meta_json() -> serde_json::Result<String> {
    let pattern = |(label, pattern): (&'static str, &'static str)| LabelPattern { label, pattern: pattern.to_owned() };
    let file = MetaFile {
        config_schema: ConfigSchema {
            schema: DRAFT,
            kind: "object",
            additional_properties: false,
            properties: InOrder(properties()),
        },
        metrics: Metrics { label_patterns: LABELS.map(pattern).into() },
    };
    serde_json::to_string_pretty(&file).map(|text| text + "\n")
}
