//! A configuration's way into the filter: the schema that Kong asks, the parser that the filter asks, and the commands
//! that carry one to Kong's Admin API.

use ai_tracing::config::{Settings, schema};
use serde_json::{Map, Value};

/// The committed schema, for draft 4 as Kong's validator.
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    pub(crate) fn new() -> Self {
        let meta: Value = serde_json::from_str(&schema::meta_json().unwrap()).unwrap();
        Self(jsonschema::draft4::new(&meta["config_schema"]).unwrap())
    }

    /// Whether both take `config`.
    ///
    /// # Panics
    /// When they differ.
    pub(crate) fn agrees(&self, config: &Value) -> bool {
        let refused = self.0.iter_errors(config).map(|error| error.to_string()).next();
        let parsed = parse(config);
        // What the entries of a list say is the parser's to check: it names the entry and the remedy.
        let is_list = |error: &String| {
            ["projects: ", "providers: ", "prices: ", "context: "].iter().any(|key| error.starts_with(key))
        };
        let finer = parsed.as_ref().is_err_and(is_list);
        let agreed = refused.is_none() == parsed.is_ok() || finer;
        assert!(agreed, "schema: {refused:?}\nparser: {:?}\n{config}", parsed.err());
        parsed.is_ok()
    }
}

/// The filter's verdict.
pub(crate) fn parse(config: &Value) -> Result<(), String> {
    Settings::load(config.to_string().as_bytes(), &|_| None).map(drop).map_err(|error| error.to_string())
}

/// A `curl` command of a document.
#[derive(Debug, PartialEq)]
pub(crate) struct Curl {
    /// Its address.
    pub(crate) url: String,
    /// The configurations that it carries, as Kong hands them on: what is form-encoded stays a string.
    pub(crate) configs: Vec<Value>,
}

/// All `curl` commands in `text`.
pub(crate) fn curls(text: &str) -> Vec<Curl> {
    let starts = text.match_indices("curl ").filter(|(at, _)| *at == 0 || text[..*at].ends_with(['\n', ' ']));
    starts.map(|(at, _)| curl(&words(&text[at..]))).filter(|curl| curl.url.contains("://")).collect()
}

fn curl(words: &[String]) -> Curl {
    let mut found = Curl { url: String::new(), configs: Vec::new() };
    let mut form = Map::new();
    let mut last = "";
    for word in words {
        match last {
            "-d" | "--data" | "--data-urlencode" if word.starts_with('{') => {
                let body: Value = serde_json::from_str(word).unwrap_or_else(|error| panic!("{error}: {word}"));
                found.configs.extend(configs(&body));
            }
            "-d" | "--data" | "--data-urlencode" => {
                let (name, value) = word.split_once('=').unwrap();
                if let Some((_, key)) = name.split_once("config.") {
                    form.insert(key.to_owned(), value.into());
                }
            }
            _ if word.contains("://") => found.url = word.clone(),
            _ => {}
        }
        last = word;
    }
    if !form.is_empty() {
        found.configs.push(Value::Object(form));
    }
    found
}

/// The configurations of `ai-tracing` in a plugin, a filter chain, or lists of them.
pub(crate) fn configs(body: &Value) -> Vec<Value> {
    match body {
        Value::Object(members) if members.get("name").is_some_and(|name| name == "ai-tracing") => {
            members.get("config").cloned().into_iter().collect()
        }
        // What a PATCH puts in place of what is stored: Kong merges a plugin's record, not a filter's JSON.
        Value::Object(members) if members.len() == 1 && members.contains_key("config") => {
            vec![members["config"].clone()]
        }
        Value::Object(members) => members.values().flat_map(configs).collect(),
        Value::Array(items) => items.iter().flat_map(configs).collect(),
        _ => Vec::new(),
    }
}

/// The words of the shell command that `text` begins with. A quote ends its word: the guide's text has lost the line
/// breaks behind some.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let quoted: String = chars.by_ref().take_while(|end| *end != c).collect();
                words.last_mut().unwrap().push_str(&quoted);
                words.push(String::new());
            }
            '\\' if chars.peek() == Some(&'\n') => drop(chars.next()),
            '\n' | '|' => break,
            ' ' => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
