//! All APIs that are read, by family. Of APIs with the same path, the one that asks for more stands first.

mod gemini;
mod openai;
mod responses;
mod vertex;
mod vllm;

use super::api::Api;

/// See the module's documentation.
pub static FAMILIES: &[&[Api]] = &[openai::APIS, responses::APIS, vertex::APIS, gemini::APIS, vllm::APIS];

/// What the tests of families have in common.
#[cfg(test)]
mod testing {
    use crate::budget::Budget;
    use crate::json::{Document, Limits};
    use crate::provider::{Answer, Api, Collector};

    fn collector(api: &'static Api) -> Collector {
        Collector::new(api, 1 << 16, Budget::new(1 << 20).capture_lease())
    }

    /// The answer that a body is.
    pub(super) fn whole(api: &'static Api, body: &str) -> Answer {
        let limits = Limits { head: 1 << 16, member: 1 << 16 };
        let mut document = Document::new(limits, Budget::new(1 << 20).capture_lease());
        document.push(body.as_bytes());
        let mut collector = collector(api);
        collector.document(&document);
        collector.finish()
    }

    /// The answer of a stream of these messages, the last of which may be cut.
    pub(super) fn streamed(api: &'static Api, messages: &[&str]) -> Answer {
        let mut collector = collector(api);
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            collector.event(b"", message.as_bytes());
        }
        collector.last_event(b"", last.as_bytes());
        collector.finish()
    }

    /// The usage that an answer states, as it is sent: of a body, or (several messages) of a stream.
    pub(super) fn usage_details(api: &'static Api, messages: &[&str]) -> String {
        let answer = if let [body] = messages { whole(api, body) } else { streamed(api, messages) };
        answer.usage.map_or_else(|| "none".to_owned(), |usage| usage.buckets.to_json())
    }
}
