//! From the bytes on the wire to messages: content encodings, and the framings in which streams arrive.

mod array;
mod buffer;
mod crc;
mod encoding;
mod eventstream;
mod lines;
mod media;
mod multipart;
mod sniff;
mod sse;

pub use array::ArraySplitter;
pub use encoding::{BodyDecoder, DecodeError};
pub use eventstream::{EventStreamDecoder, Frame};
pub use lines::LineDecoder;
pub(crate) use media::describe_base64;
pub use media::{BARE_MIN, HASH_MAX, MediaFilter, PIECE_HASH_MAX, URI_MIN};
pub(crate) use media::{Content as MediaContent, End as MediaEnd, HashBudget};
pub use multipart::MultipartReader;
pub use sniff::{Framing, Sniffed, Sniffer};
pub use sse::{SseDecoder, SseEvent};

/// Longest single message of a stream that is read, in bytes; a longer one is passed over and counted.
pub const MESSAGE_MAX: usize = 1024 * 1024;
