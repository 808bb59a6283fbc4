//! What would be exported for one recorded exchange, for the command line tool `explain` (`src/bin/explain.rs`) and for
//! tests: read from a file ([`Exchange`]), fed to the core as a gateway would ([`replay`]), shown as a tree or as OTLP.
//!
//! Native only: nothing of it is in the module.

mod exchange;
mod otlp;
mod outline;
mod redact;
mod replay;
mod tree;

pub use exchange::{BodyEncoding, Exchange, ExchangeError, Headers, Request, Response};
pub use otlp::sent;
pub use redact::{differences, redact};
pub use replay::{Traced, reason, remedy, replay};
pub use tree::{skipped, tree};
