//! Odd, broken and hostile calls through the real Envoy: each passes untouched, and its trace says what is known, or it
//! is skipped with a counted reason.

mod answers;
mod case;
mod connections;
mod endings;
mod memory;
mod mutations;
mod requests;
mod sizes;
mod skipped;
