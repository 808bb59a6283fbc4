//! What only a generation has: model, parameters, prompt, time of the first content, tokens, cost.

use super::reader::{Span, Value};
use crate::json::{Object, Value as Json, write_string};

/// The largest integer that the server takes: JavaScript's `Number.MAX_SAFE_INTEGER`.
const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// Writes them into an observation's body.
pub(super) fn write(body: &mut Object<'_>, span: &Span<'_>) {
    let json = |key: &str| Json::check(span.text(key).unwrap_or_default()).unwrap_or_default();
    body.optional("completionStartTime", span.text("langfuse.observation.completion_start_time"));
    body.optional("model", span.text("langfuse.observation.model.name"));
    parameters(body, json("langfuse.observation.model.parameters"));
    usage(body, json("langfuse.observation.usage_details"));
    cost(body, json("langfuse.observation.cost_details"));
    let version = span.get("langfuse.observation.prompt.version");
    // One without the other is refused.
    if let (Some(name), Some(Value::Int(version @ 1..))) = (span.text("langfuse.observation.prompt.name"), version)
        && !name.is_empty()
    {
        body.text("promptName", name);
        body.number("promptVersion", version.unsigned_abs());
    }
}

/// Values that are no text, number, boolean, null or list of texts are written as text: the server refuses them.
fn parameters(body: &mut Object<'_>, json: Json<'_>) {
    let mut members = json.members().peekable();
    if members.peek().is_none() {
        return;
    }
    let mut parameters = Object::open(body.key("modelParameters"));
    for (key, value) in members {
        if is_plain(value) {
            parameters.raw(&key, value.raw());
        } else {
            write_string(parameters.key(&key), value.raw());
        }
    }
    parameters.close();
}

fn is_plain(value: Json<'_>) -> bool {
    match value.raw() {
        "null" | "true" | "false" => true,
        _ if value.is_array() => value.items().all(Json::is_string),
        number => value.is_string() || (!value.is_object() && is_finite(number)),
    }
}

/// JavaScript has a number of that size (up to 1.8e308); JSON has larger ones.
fn is_finite(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let whole = digits.split('.').next().unwrap_or_default();
    exponent
        .parse()
        .is_ok_and(|exponent: i32| exponent < 308 && whole.len() < 308 - exponent.max(0).unsigned_abs() as usize)
}

/// `usageDetails`, and `usage` for servers of version 2 that know nothing else.
///
/// Newer servers merge the two, bucket by bucket (`mapObservationEventsToRecords` in the server's `IngestionService`):
/// `usage.input` counts everything that went in, so where `usageDetails` has only part of it (all of a prompt was
/// cached) it must say `input: 0`, or those tokens are counted twice.
fn usage(body: &mut Object<'_>, json: Json<'_>) {
    let count = |value: Json<'_>| value.number().filter(|count| *count <= INTEGER_MAX);
    let buckets: Vec<_> = json.members().filter_map(|(key, value)| Some((key, count(value)?))).collect();
    if buckets.is_empty() {
        return;
    }
    let side = |name: &str| {
        let of_side = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        let counts = buckets.iter().filter(|(key, _)| of_side(key)).map(|(_, count)| *count);
        counts.reduce(u64::saturating_add).map(|sum| sum.min(INTEGER_MAX))
    };
    let sides = [("input", side("input")), ("output", side("output"))];
    let total = buckets.iter().find(|(key, _)| *key == "total").map(|(_, count)| *count);

    let mut details = Object::open(body.key("usageDetails"));
    buckets.iter().for_each(|(key, count)| details.number(key, *count));
    for (name, sum) in sides {
        if sum.is_some() && buckets.iter().all(|(key, _)| *key != name) {
            details.number(name, 0);
        }
    }
    details.close();
    let mut usage = Object::open(body.key("usage"));
    for (name, sum) in sides.into_iter().chain([("total", total)]) {
        sum.into_iter().for_each(|sum| usage.number(name, sum));
    }
    usage.text("unit", "TOKENS");
    usage.close();
}

/// Amounts of at least 0.
fn cost(body: &mut Object<'_>, json: Json<'_>) {
    let amounts = json.members().filter_map(|(key, value)| Some((key, value.amount()?)));
    let mut amounts = amounts.filter(|(_, amount)| is_finite(amount)).peekable();
    if amounts.peek().is_none() {
        return;
    }
    let mut cost = Object::open(body.key("costDetails"));
    amounts.for_each(|(key, amount)| cost.raw(&key, amount));
    cost.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Json<'_> {
        Json::check(json).unwrap_or_default()
    }

    fn written(write: impl FnOnce(&mut Object<'_>)) -> String {
        let mut out = String::new();
        let mut object = Object::open(&mut out);
        write(&mut object);
        object.close();
        out
    }

    #[test]
    fn parameters_that_the_server_refuses_become_text() {
        let json = r#"{"temperature":0.70,"stream":true,"seed":null,"stop":["a","b"],"user":"u",
            "format":{"type":"x"},"ids":[1,2],"huge":1e999,"mixed":["a",1],"empty":[]}"#;
        let expected = r#"{"modelParameters":{"temperature":0.70,"stream":true,"seed":null,"stop":["a","b"],"user":"u","format":"{\"type\":\"x\"}","ids":"[1,2]","huge":"1e999","mixed":"[\"a\",1]","empty":[]}}"#;
        assert_eq!(written(|body| parameters(body, checked(json))), expected);
        for none in ["", "{}", "[1]", "{\"a\":"] {
            assert_eq!(written(|body| parameters(body, checked(none))), "{}");
        }
    }

    #[test]
    fn usage_is_said_in_both_ways_and_counts_nothing_twice() {
        for (json, details, old) in [
            (
                r#"{"input":130,"input_cached_tokens":20,"output":20,"output_reasoning_tokens":5,"total":175}"#,
                r#"{"input":130,"input_cached_tokens":20,"output":20,"output_reasoning_tokens":5,"total":175}"#,
                r#"{"input":150,"output":25,"total":175,"unit":"TOKENS"}"#,
            ),
            (
                r#"{"input_cached_tokens":20,"output":5,"total":25}"#,
                r#"{"input_cached_tokens":20,"output":5,"total":25,"input":0}"#,
                r#"{"input":20,"output":5,"total":25,"unit":"TOKENS"}"#,
            ),
            (r#"{"input":8,"total":8}"#, r#"{"input":8,"total":8}"#, r#"{"input":8,"total":8,"unit":"TOKENS"}"#),
            (
                r#"{"input":1.5,"output":-1,"x":"1","y":9007199254740992,"unattributed":7}"#,
                r#"{"unattributed":7}"#,
                r#"{"unit":"TOKENS"}"#,
            ),
        ] {
            let expected = format!(r#"{{"usageDetails":{details},"usage":{old}}}"#);
            assert_eq!(written(|body| usage(body, checked(json))), expected);
        }
        assert_eq!(written(|body| usage(body, checked(r#"{"input":1.5}"#))), "{}");
    }

    #[test]
    fn amounts_are_not_negative() {
        let json = r#"{"total":0,"input":0.25,"output":-1,"other":"1"}"#;
        assert_eq!(written(|body| cost(body, checked(json))), r#"{"costDetails":{"total":0,"input":0.25}}"#);
        assert_eq!(written(|body| cost(body, checked(r#"{"total":-1}"#))), "{}");
    }
}
