//! Configurations: whatever is written there is taken or refused with words, no key shows, and no call is harmed.

use crate::config::Settings;
use crate::fuzz::exchange::Exchange;
use crate::json::Value;

/// See the module's documentation.
pub(super) fn config(data: &[u8]) {
    const KEY: &str = "sk-lf-from-the-environment";
    let env = |name: &str| match name {
        "LANGFUSE_TRACING_ENVIRONMENT" => Some("staging".to_owned()),
        "LANGFUSE_PUBLIC_KEY" => Some("pk-lf-1".to_owned()),
        _ => name.contains("KEY").then(|| KEY.to_owned()),
    };
    let settings = match Settings::load(data, &env) {
        Ok(settings) => settings,
        Err(error) => return assert!(!error.to_string().is_empty(), "an error has words"),
    };
    assert!(is_configuration(data), "only an object is a configuration");
    assert!(!format!("{settings:?}").contains(KEY), "no key is shown");
    let mut exchange = Exchange::new(&settings, "/team/v1/chat/completions");
    exchange.request_headers.push((b"x-team", b"search"));
    exchange.request = br#"{"model":"own-7b","messages":[{"role":"user","content":"why?"}],"stream":false}"#;
    exchange.response = br#"{"id":"1","model":"own-7b","choices":[{"message":{"content":"so"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}"#;
    exchange.check(1);
}

/// Nothing, an object, or a string that holds one; in half characters, which `serde_json` refuses, lenient as the filter.
fn is_configuration(data: &[u8]) -> bool {
    let is_object =
        |text: &[u8]| text.trim_ascii().is_empty() || Value::parse(text.trim_ascii()).is_some_and(Value::is_object);
    let text = Value::parse(data.trim_ascii()).and_then(Value::text);
    is_object(data) || text.is_some_and(|text| is_object(text.as_bytes()))
}
