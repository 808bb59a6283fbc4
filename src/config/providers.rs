//! The key `providers`: calls that are not of a built-in family, or under a path or name of their own.

use super::entries::{Entries, Entry, header, members, string, unknown};
use super::values::{Flag, FromJson};
use crate::json::Value;
use crate::provider::{Api, Count, Custom, FAMILIES, Match, Operation, Places, Reading, Stream, UsageRules};

/// See the module's documentation.
pub type ProviderList = Entries<Custom>;

/// Longest name, bytes: it is a label of metrics.
const NAME_MAX: usize = 40;

/// What an entry says.
#[derive(Default)]
struct Written {
    name: String,
    when: Match,
    family: Option<String>,
    operation: Option<String>,
    stream: Option<Stream>,
    places: Option<Box<Places>>,
    includes_cache: Option<bool>,
    includes_reasoning: Option<bool>,
}

impl Entry for Custom {
    fn from_object(object: Value<'_>) -> Result<Self, String> {
        let mut written = Written::default();
        members(object, &mut |key, value| written.take(key, value))?;
        written.finish()
    }
}

impl Written {
    fn take(&mut self, key: &str, value: Value<'_>) -> Result<(), String> {
        match key {
            "name" => self.name = name(string(key, value)?)?,
            "path" => self.when.path = Some(string(key, value)?),
            "path_prefix" => self.when.path_prefix = Some(string(key, value)?),
            "host" => self.when.host = Some(string(key, value)?),
            "header" => self.when.header = header(value)?,
            "family" => self.family = Some(string(key, value)?),
            "operation" => self.operation = Some(string(key, value)?),
            "input_includes_cache" => self.includes_cache = Some(flag(key, value)?),
            "output_includes_reasoning" => self.includes_reasoning = Some(flag(key, value)?),
            "request" | "response" | "stream" | "usage" => return self.take_places(key, value),
            _ => return unknown(key),
        }
        Ok(())
    }

    fn take_places(&mut self, group: &str, value: Value<'_>) -> Result<(), String> {
        if !value.is_object() {
            return Err(format!("`{group}` must be an object of places such as \"/choices/0/text\""));
        }
        let (places, stream) = (self.places.get_or_insert_default(), &mut self.stream);
        members(value, &mut |key, value| {
            if (group, key) == ("stream", "framing") {
                *stream = Some(framing(&string(key, value)?)?);
                return Ok(());
            }
            let place = place(key, value)?;
            if group == "usage"
                && let Some(count) = Count::ALL.iter().find(|count| count.name() == key)
            {
                places.usage.push((*count, place));
                return Ok(());
            }
            let slot = match (group, key) {
                ("request", "model") => &mut places.request_model,
                ("request", "input") => &mut places.input,
                ("response", "model") => &mut places.model,
                ("response", "id") => &mut places.id,
                ("response", "output") => &mut places.output,
                ("response", "reasoning") => &mut places.reasoning,
                ("response", "finish_reason") => &mut places.finish_reason,
                ("response", "error") => &mut places.error,
                ("stream", "delta") => &mut places.delta,
                ("stream", "reasoning") => &mut places.reasoning_delta,
                ("usage", "cost") => &mut places.cost,
                _ => return unknown(&format!("{group}.{key}")),
            };
            *slot = place;
            Ok(())
        })
    }

    fn finish(self) -> Result<Custom, String> {
        if self.name.is_empty() {
            return Err("has no name".to_owned());
        }
        if self.when == Match::default() {
            return Err("names no calls; give path, path_prefix, host or header".to_owned());
        }
        let counts = self.includes_cache.or(self.includes_reasoning);
        if counts.is_some() && self.places.is_none() {
            return Err(
                "`input_includes_cache` and `output_includes_reasoning` are of the counts in `usage`: leave them out"
                    .to_owned(),
            );
        }
        if self.operation.is_some() && self.family.is_none() && self.places.is_none() {
            return Err(
                "has an `operation` and neither a family nor places: give one of these, or leave it out".to_owned()
            );
        }
        let operation = self.operation.as_deref().map(operation).transpose()?;
        let reading = match (self.family, self.places) {
            (Some(_), Some(_)) => return Err("has a family, which knows its places: leave the places out".to_owned()),
            (Some(family), None) => Reading::Family(built_in(&family, operation)?),
            (None, Some(places)) if places.output.is_empty() => return Err("has no response.output".to_owned()),
            (None, Some(places)) => Reading::Described(operation.unwrap_or(Operation::Chat), places),
            (None, None) => Reading::ByPath,
        };
        let semantics = UsageRules {
            input_includes_cache: self.includes_cache.unwrap_or(true),
            output_includes_reasoning: self.includes_reasoning.unwrap_or(true),
            ..UsageRules::NONE
        };
        let stream = self.stream.unwrap_or(Stream::Told);
        let custom = Custom { name: self.name, when: self.when, reading, stream, semantics };
        match custom.api() {
            None if !matches!(custom.reading, Reading::ByPath) => {
                Err("`operation` of a described provider must be chat, completion, embedding, rerank or other"
                    .to_owned())
            }
            _ => Ok(custom),
        }
    }
}

fn name(name: String) -> Result<String, String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match name.bytes().all(known) && name.len() <= NAME_MAX {
        true => Ok(name),
        false => Err(format!("`name` must be of a-z, 0-9 and _, at most {NAME_MAX}")),
    }
}

fn flag(key: &str, value: Value<'_>) -> Result<bool, String> {
    Flag::from_json(value).map(|flag| flag.0).map_err(|problem| format!("`{key}` {problem}"))
}

/// A place: a JSON pointer. What is kept is without its first `/`.
fn place(key: &str, value: Value<'_>) -> Result<String, String> {
    let written = value.text().unwrap_or_default();
    let place = written.trim().strip_prefix('/').filter(|place| !place.is_empty() && place.len() <= 200);
    place.map(str::to_owned).ok_or_else(|| format!("`{key}` must be a place such as \"/choices/0/text\""))
}

fn framing(name: &str) -> Result<Stream, String> {
    match name {
        // The first bytes tell these.
        "auto" | "sse" | "eventstream" => Ok(Stream::Told),
        "lines" => Ok(Stream::Lines),
        "array" => Ok(Stream::Array),
        _ => Err("`framing` must be auto, sse, lines, array or eventstream".to_owned()),
    }
}

fn operation(name: &str) -> Result<Operation, String> {
    let found = Operation::ALL.iter().find(|operation| operation.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        format!("`operation` must be one of {}", names.join(", "))
    })
}

fn built_in(family: &str, operation: Option<Operation>) -> Result<&'static Api, String> {
    let is_it = |api: &&Api| api.family == family && operation.is_none_or(|wanted| api.operation == wanted);
    let found = FAMILIES.iter().copied().flatten().find(is_it);
    found.ok_or_else(|| "`family` is not a built-in one (of that operation); docs/apis.md lists them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<ProviderList, String> {
        ProviderList::from_json(Value::check(text).unwrap())
    }

    #[test]
    fn a_provider_is_a_family_a_description_or_a_name() {
        let text = r#"[
            {"name":"groq","path_prefix":"/groq","family":"openai.chat"},
            {"name":"acme","path":"v2/answer","host":"acme.example","header":{"X-Api":"2"},"operation":"completion",
             "request":{"model":"/engine","input":"/question"},"response":{"output":"/answer/0/text","error":"/problem"},
             "stream":{"delta":"/piece","framing":"lines"},"usage":{"input":"/n/in","cache_read_input_tokens":"/n/c","cost":"/usd"},
             "input_includes_cache":"false"},
            {"name":"eu","path_prefix":"/eu"}]"#;
        let providers = list(text).unwrap().0;
        assert_eq!(providers[0].api().unwrap().family, "openai.chat");
        let (acme, places) = (&providers[1], providers[1].places().unwrap());
        assert_eq!((acme.api().unwrap().operation, acme.stream), (Operation::Completion, Stream::Lines));
        assert_eq!(
            (places.output.as_str(), places.input.as_str(), places.cost.as_str()),
            ("answer/0/text", "question", "usd")
        );
        assert_eq!(places.usage, [(Count::Input, "n/in".to_owned()), (Count::CacheRead, "n/c".to_owned())]);
        assert!(!acme.semantics.input_includes_cache && acme.semantics.output_includes_reasoning);
        assert!(providers[2].api().is_none());
    }

    #[test]
    fn a_wrong_entry_is_named_with_its_remedy() {
        for (entry, problem) in [
            (r#"{"path":"/a"}"#, "has no name"),
            (r#"{"name":"A b","path":"/a"}"#, "`name` must be of a-z"),
            (r#"{"name":"a"}"#, "names no calls"),
            (r#"{"name":"a","path":"/a","family":"openai.chats"}"#, "`family` is not a built-in one"),
            (r#"{"name":"a","path":"/a","family":"openai.chat","operation":"image"}"#, "(of that operation)"),
            (r#"{"name":"a","path":"/a","operation":"chat"}"#, "neither a family nor places"),
            (r#"{"name":"a","path":"/a","input_includes_cache":true}"#, "leave them out"),
            (
                r#"{"name":"a","path":"/a","family":"openai.chat","output_includes_reasoning":"false"}"#,
                "leave them out",
            ),
            (
                r#"{"name":"a","path":"/a","operation":"chatting","response":{"output":"/a"}}"#,
                "`operation` must be one of chat, completion",
            ),
            (
                r#"{"name":"a","path":"/a","operation":"image","response":{"output":"/a"}}"#,
                "must be chat, completion, emb",
            ),
            (r#"{"name":"a","path":"/a","response":{"output":"a"}}"#, "`output` must be a place"),
            (r#"{"name":"a","path":"/a","response":{"outputs":"/a"}}"#, "unknown key `response.outputs`"),
            (r#"{"name":"a","path":"/a","usage":{"tokens":"/a"}}"#, "unknown key `usage.tokens`"),
            (r#"{"name":"a","path":"/a","response":[]}"#, "`response` must be an object"),
            (r#"{"name":"a","path":"/a","request":{"input":"/a"}}"#, "has no response.output"),
            (r#"{"name":"a","path":"/a","family":"openai.chat","usage":{}}"#, "leave the places out"),
            (r#"{"name":"a","path":"/a","stream":{"framing":"x"}}"#, "`framing` must be"),
            (r#"{"name":"a","paths":"/a"}"#, "unknown key `paths`"),
        ] {
            let error = list(&format!("[{entry}]")).unwrap_err();
            assert!(error.contains("entry 1: ") && error.contains(problem), "{entry}: {error}");
        }
    }
}
