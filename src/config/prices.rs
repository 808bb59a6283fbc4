//! The key `prices`: what models cost that Langfuse has no price for.

use super::entries::{Entries, Entry, members, string, unknown};
use crate::json::Value;
use crate::provider::{ModelPrices, Price};

/// See the module's documentation.
pub type PriceList = Entries<ModelPrices>;

impl Entry for ModelPrices {
    fn from_object(object: Value<'_>) -> Result<Self, String> {
        let mut model = None;
        let (mut input, mut output) = (None, None);
        let (mut cached, mut cache_write, mut reasoning, mut audio) = (None, None, None, None);
        members(object, &mut |key, value| {
            let price = match key {
                "model" => {
                    model = Some(string(key, value)?);
                    return Ok(());
                }
                "input" => &mut input,
                "output" => &mut output,
                "cached" => &mut cached,
                "cache_write" => &mut cache_write,
                "reasoning" => &mut reasoning,
                "audio" => &mut audio,
                _ => return unknown(key),
            };
            *price = Some(read(key, value)?);
            Ok(())
        })?;
        let missing = || "give model, input and output (dollars per million tokens)".to_owned();
        Ok(Self {
            model: model.ok_or_else(missing)?,
            input: input.ok_or_else(missing)?,
            output: output.ok_or_else(missing)?,
            cached,
            cache_write,
            reasoning,
            audio,
        })
    }
}

fn read(key: &str, value: Value<'_>) -> Result<Price, String> {
    let written = value.text();
    let price = Price::parse(written.as_deref().map_or(value.raw(), str::trim));
    price.ok_or_else(|| format!("`{key}` must be a decimal number of dollars per million tokens, such as 0.15"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::FromJson;

    fn list(text: &str) -> Result<PriceList, String> {
        PriceList::from_json(Value::check(text).unwrap())
    }

    #[test]
    fn a_list_of_prices_is_read_also_from_strings() {
        let text = r#"[{"model":"llama-*","input":0.2,"output":"0.6","cached":null,"reasoning":1}]"#;
        let prices = list(text).unwrap().0;
        assert_eq!((prices[0].model.as_str(), prices[0].cached), ("llama-*", None));
        assert_eq!((prices[0].output, prices[0].reasoning), (Price::parse("0.6").unwrap(), Price::parse("1")));
        let quoted = serde_json::to_string(text).unwrap();
        assert_eq!(list(&quoted).unwrap().0, prices);
    }

    #[test]
    fn a_wrong_entry_is_named_with_its_remedy() {
        for (text, problem) in [
            ("{\"a\":1}", "it is none"),
            ("[1]", "entry 1: is no object"),
            (r#"[{"model":"a","input":1}]"#, "entry 1: give model, input and output"),
            (r#"[{"model":"","input":1,"output":1}]"#, "`model` is empty"),
            (r#"[{"model":"a","input":-1,"output":1}]"#, "`input` must be a decimal number"),
            (r#"[{"model":"a","input":1,"output":1,"inputs":2}]"#, "unknown key `inputs`"),
        ] {
            let error = list(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
