//! What the bytes of an LLM call mean, by family of API.
//!
//! [`families`] declares each API: how its calls are known ([`find`] does it), what of a request is its input, and what its
//! messages mean. A [`Collector`] puts an answer together from them into the neutral [`Answer`]; `call::reader` knows how
//! bodies are framed.

mod answer;
mod api;
mod block;
mod collect;
mod count;
mod custom;
mod error;
pub mod families;
mod media;
mod message;
mod price;
mod route;
mod usage;
mod vectors;

pub use answer::Answer;
pub use api::{Api, Operation, Stream, When};
pub use block::Block;
pub use collect::{CallKey, Collector};
pub use count::{Count, Counts, UNITS, UsageRules};
pub use custom::{Custom, Match, Places, Reading};
pub use error::ProviderError;
pub use families::FAMILIES;
pub use message::Message;
pub use price::{ModelPrices, Price, cost};
pub use route::{Asked, HasMember, Route, Skip, find, without_query};
pub use usage::{Buckets, Usage};
pub use vectors::Element;
