//! JSON as a tap needs it: top-level members found while the bytes pass, values kept verbatim, truncated text closed.
//!
//! Grammar: RFC 8259 <https://www.rfc-editor.org/rfc/rfc8259>. Nothing here builds a tree: prompts travel as the bytes
//! that were sent.

mod close;
mod document;
mod fields;
mod members;
mod scan;
mod store;
mod value;
mod write;

pub use close::close_truncated;
pub use document::{Document, Limits};
pub use fields::Fields;
pub use members::Member;
pub use scan::{trim, trim_start};
pub use value::{Items, Members, Value};
pub use write::{Object, ObjectWriter, write_string};
