//! Keys whose value is a list of objects (`projects`, `providers`, `prices`), or the same list as JSON text, as Kong's
//! form-encoded Admin API delivers it.

use super::values::FromJson;
use crate::json::Value;

/// Most entries of one list.
pub(super) const ENTRIES_MAX: usize = 50;

/// One object of a list.
pub(super) trait Entry: Sized {
    /// Reads the object.
    ///
    /// # Errors
    /// What is wrong, and what to write instead; never a secret.
    fn from_object(object: Value<'_>) -> Result<Self, String>;
}

/// A list of such objects.
#[derive(Debug, Clone)]
pub struct Entries<T>(pub Vec<T>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry> FromJson for Entries<T> {
    fn from_json(value: Value<'_>) -> Result<Self, String> {
        let mut entries = Vec::new();
        let read = each(value, &mut |object| {
            entries.push(T::from_object(object)?);
            Ok(())
        });
        read.map_err(|problem| format!("must be a list of objects as the README shows: {problem}"))?;
        Ok(Self(entries))
    }
}

/// Hands on each object of the list; errors name its number.
fn each(value: Value<'_>, take: &mut dyn FnMut(Value<'_>) -> Result<(), String>) -> Result<(), String> {
    let text = value.text();
    let list = text.as_ref().map_or(value, |text| Value::check(text).unwrap_or_default());
    if !list.is_array() {
        return Err("it is none".to_owned());
    }
    if list.items().nth(ENTRIES_MAX).is_some() {
        return Err(format!("it has more than {ENTRIES_MAX} entries"));
    }
    for (number, object) in (1..).zip(list.items()) {
        let read = if object.is_object() { take(object) } else { Err("is no object".to_owned()) };
        read.map_err(|problem| format!("entry {number}: {problem}"))?;
    }
    Ok(())
}

/// Hands on name and value of each member of `object` that is not `null`.
pub(super) fn members(
    object: Value<'_>,
    take: &mut dyn FnMut(&str, Value<'_>) -> Result<(), String>,
) -> Result<(), String> {
    for (key, value) in object.members().filter(|(_, value)| !value.is_nothing()) {
        take(&key, value)?;
    }
    Ok(())
}

/// The error for a key that an entry does not have.
pub(super) fn unknown<T>(key: &str) -> Result<T, String> {
    Err(format!("unknown key `{}`", key.chars().take(60).collect::<String>()))
}

/// A string that is not empty, without white space around it.
#[inline(never)]
pub(super) fn string(key: &str, value: Value<'_>) -> Result<String, String> {
    let text = value.text().ok_or_else(|| format!("`{key}` must be a string"))?;
    if text.trim().is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text.trim().to_owned()) }
}

/// Names of headers, in lower case, and their values.
pub(super) fn header(value: Value<'_>) -> Result<Vec<(String, String)>, String> {
    let pairs = value.members().map(|(name, value)| Some((name.to_ascii_lowercase(), string(&name, value).ok()?)));
    let pairs: Option<Vec<_>> = pairs.collect();
    let named = pairs.filter(|pairs| !pairs.is_empty());
    named.ok_or_else(|| "`header` must be an object of header names and values".to_owned())
}
