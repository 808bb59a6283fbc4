//! The key `context`: where user, session, names, tags, metadata and labels of a trace come from, and the keys that say
//! what of it may be believed.

use super::values::FromJson;
use crate::context::{Field, Lists, ParentMode, Place, Source, TrustCaller, VerifiedJwt};
use crate::json::Value;

/// Sources in one list.
const SOURCES_MAX: usize = 32;
/// Keys of metadata that have a list.
const KEYS_MAX: usize = 64;

impl FromJson for Lists {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        // Kong's form-encoded Admin API delivers text; Lua's empty table comes as an empty list.
        let text = value.text();
        let value = text.as_deref().map_or(Some(value), |text| Value::check(text).ok()).unwrap_or_default();
        if !value.is_object() && value.items().next().is_none() && value.is_array() {
            return Ok(Self::default());
        }
        if !value.is_object() {
            return Err("must be an object of lists of sources".to_owned());
        }
        let mut lists = Self::default();
        for (key, value) in value.members().filter(|(_, value)| !value.is_nothing()) {
            lists.add(&key, value)?;
        }
        Ok(lists)
    }
}

impl Lists {
    fn add(&mut self, key: &str, value: Value<'_>) -> Result<(), String> {
        if let Some(field) = Field::ALL.into_iter().find(|field| field.name() == key) {
            self.fields.push((field, places(key, value)?));
        } else if key == "tags" {
            self.tags = Some(places(key, value)?);
        } else if key == "metadata" {
            for (key, value) in value.members().take(KEYS_MAX) {
                let places = places(&format!("metadata.{key}"), value)?;
                self.metadata.push((key.into_owned(), places));
            }
            if !value.is_object() || value.members().nth(KEYS_MAX).is_some() {
                return Err(format!("`metadata` must be an object of at most {KEYS_MAX} keys and their sources"));
            }
        } else {
            let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
            return Err(format!("unknown field `{}`; known are {}, tags, metadata", short(key), known.join(", ")));
        }
        Ok(())
    }
}

/// One source, or a list of them.
fn places(key: &str, value: Value<'_>) -> Result<Vec<Place>, String> {
    let one = [value];
    let items: Vec<Value<'_>> = if value.is_string() { one.into() } else { value.items().collect() };
    let is_list = value.is_string() || value.is_array() || (value.is_object() && value.members().next().is_none());
    if !is_list || items.len() > SOURCES_MAX {
        return Err(format!("`{}` must be a source or a list of at most {SOURCES_MAX}", short(key)));
    }
    items.into_iter().map(|item| place(key, item)).collect()
}

fn place(key: &str, value: Value<'_>) -> Result<Place, String> {
    let key = short(key);
    let text = value.text().ok_or_else(|| format!("`{key}` has a source that is no string"))?;
    if text.trim() == "default" {
        return Ok(Place::Default);
    }
    let source = Source::parse(&text).map_err(|error| format!("`{key}`: `{}` {error}", short(&text)))?;
    let is_many = matches!(source, Source::Headers(_) | Source::Baggages(_));
    if is_many && key != "metadata.*" {
        return Err(format!("`{key}`: a source that ends with `*` is for the key `*` of metadata alone"));
    }
    Ok(Place::Of(source))
}

/// Enough to be recognised.
fn short(text: &str) -> &str {
    crate::trace::truncate(text, 60)
}

fn word<T: Copy>(value: Value<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let said = value.text().unwrap_or_default();
    let found = words.iter().find(|(word, _)| *word == said).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

impl FromJson for ParentMode {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        word(
            value,
            &[("auto", Self::Auto), ("trust", Self::Trust), ("foreign", Self::Foreign), ("ignore", Self::Ignore)],
        )
    }
}

impl FromJson for TrustCaller {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        word(value, &[("all", Self::All), ("authenticated", Self::Authenticated), ("none", Self::None)])
    }
}

impl FromJson for VerifiedJwt {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let text = value.text().unwrap_or_default();
        let (kind, name) = text.trim().split_once(':').unwrap_or_default();
        match (kind, name.trim()) {
            ("header", name) if !name.is_empty() => Ok(Self::Header(name.to_ascii_lowercase())),
            ("metadata", name) if !name.is_empty() => Ok(Self::Metadata(name.to_owned())),
            _ => Err("must be header:NAME (such as header:authorization) or metadata:NAME".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> Result<Lists, String> {
        Lists::from_json(Value::check(text).unwrap())
    }

    #[test]
    fn sources_are_read_alone_in_lists_and_as_text() {
        let written = r#"{"user":"claim:sub","session":["header:x-a","default"],"tags":[],"metadata":{"team":"header:x-team","*":["default"]}}"#;
        let read = lists(written).unwrap();
        assert_eq!(read.fields.len(), 2);
        assert_eq!(
            read.fields[1],
            (Field::Session, vec![Place::Of(Source::parse("header:x-a").unwrap()), Place::Default])
        );
        assert_eq!((read.tags.clone(), read.metadata.len()), (Some(Vec::new()), 2));
        assert_eq!(lists(&serde_json::to_string(written).unwrap()), Ok(read));
        assert_eq!((lists("[]"), lists("{}")), (Ok(Lists::default()), Ok(Lists::default())));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy() {
        let many = format!(r#"{{"user":[{}]}}"#, vec![r#""claim:a""#; SOURCES_MAX + 1].join(","));
        let keys: Vec<String> = (0..=KEYS_MAX).map(|number| format!(r#""k{number}":"claim:a""#)).collect();
        let keys = format!(r#"{{"metadata":{{{}}}}}"#, keys.join(","));
        for (text, problem) in [
            ("1", "must be an object"),
            (r#""x""#, "must be an object"),
            (r#"{"usr":"claim:a"}"#, "unknown field `usr`; known are user"),
            (r#"{"user":1}"#, "`user` must be a source or a list"),
            (r#"{"user":[1]}"#, "no string"),
            (r#"{"user":"x-user"}"#, "`user`: `x-user` is no source; write header:"),
            (r#"{"user":"header:authorization"}"#, "never exported"),
            (r#"{"user":"header:x-a-*"}"#, "metadata alone"),
            (r#"{"metadata":{"a":"header:x-a-*"}}"#, "`metadata.a`: a source that ends with `*` is for the key `*`"),
            (r#"{"metadata":"header:x"}"#, "`metadata` must be an object"),
            (&many, "at most 32"),
            (&keys, "at most 64 keys"),
        ] {
            let error = lists(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn words() {
        let value = |text| Value::check(text).unwrap();
        assert_eq!(ParentMode::from_json(value(r#""trust""#)), Ok(ParentMode::Trust));
        assert_eq!(ParentMode::from_json(value("1")), Err("must be one of auto, trust, foreign, ignore".to_owned()));
        assert_eq!(TrustCaller::from_json(value(r#""none""#)), Ok(TrustCaller::None));
        assert_eq!(
            VerifiedJwt::from_json(value(r#""header: Authorization""#)),
            Ok(VerifiedJwt::Header("authorization".into()))
        );
        assert_eq!(VerifiedJwt::from_json(value(r#""metadata:p""#)), Ok(VerifiedJwt::Metadata("p".into())));
        assert!(VerifiedJwt::from_json(value(r#""yes""#)).is_err());
    }
}
