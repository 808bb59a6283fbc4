//! What an answer said, whichever family it is of.

use super::count::Counts;
use super::{ProviderError, Usage};

/// See the module's documentation.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The output as JSON text: a message, a text, or a summary of vectors.
    pub output: Option<String>,
    /// Why the (first) choice ended, as the provider says it.
    pub finish_reason: Option<String>,
    /// Tokens, where the provider stated them.
    pub usage: Option<Usage>,
    /// All that the provider counted, other units included.
    pub counts: Counts,
    /// What the provider says that the call cost, in dollars: a JSON number, as written.
    pub cost: Option<String>,
    /// At which tier and speed the provider bills the call, by the name of the parameter.
    pub billed_at: Vec<(&'static str, String)>,
    /// The iterations that the call was made of, where there were several: JSON text, as stated.
    pub iterations: Option<String>,
    /// The error that the provider reported, also inside a stream.
    pub error: Option<ProviderError>,
    /// A choice was begun and neither it nor the answer was ended by the provider.
    pub unfinished: bool,
    /// Messages of a stream that could not be read.
    pub unread_messages: u32,
}
