//! All APIs that are read, by family. Of APIs with the same path, the one that asks for more stands first.

mod anthropic;
mod bedrock;
mod openai;
mod vllm;

use super::api::Api;

/// See the module's documentation.
pub static FAMILIES: &[&[Api]] = &[openai::APIS, anthropic::APIS, bedrock::APIS, vllm::APIS];

/// What the families' tests have in common.
#[cfg(test)]
mod testing {
    use super::FAMILIES;
    use crate::budget::Budget;
    use crate::json::{Document, Limits};
    use crate::provider::{Answer, Api, Collector};

    /// The API of that family that asks for the least.
    pub(super) fn api(family: &str) -> &'static Api {
        FAMILIES.iter().copied().flatten().rfind(|api| api.family == family).unwrap()
    }

    /// The answer of a stream of events: name and data.
    pub(super) fn stream(api: &'static Api, events: &[(&str, &str)]) -> Answer {
        let mut collector = Collector::new(api, 1 << 20, Budget::new(1 << 20).capture_lease());
        for (event, data) in events {
            collector.event(event.as_bytes(), data.as_bytes());
        }
        collector.finish()
    }

    /// The answer of one JSON body.
    pub(super) fn whole(api: &'static Api, body: &str) -> Answer {
        let budget = Budget::new(1 << 20);
        let mut collector = Collector::new(api, 1 << 20, budget.capture_lease());
        let mut document = Document::new(Limits { head: 1 << 20, member: 1 << 20 }, budget.capture_lease());
        document.push(body.as_bytes());
        collector.document(&document);
        collector.finish()
    }

    /// What Langfuse is sent of the usage in messages: of one, which is the whole answer, or those of a stream.
    pub(super) fn usage_details(api: &'static Api, messages: &[&str]) -> String {
        let answer = match messages {
            [body] => whole(api, body),
            _ => stream(api, &messages.iter().map(|data| ("", *data)).collect::<Vec<_>>()),
        };
        answer.usage.map_or_else(String::new, |usage| usage.buckets.to_json())
    }
}
