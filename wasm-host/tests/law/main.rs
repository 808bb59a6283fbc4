//! The host's own tests: tiny guests break every rule of the law and are caught, and are let go where a host allows it.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bodies;
mod calls;
mod cases;
mod ending;
mod guest;
mod rules;
mod traps;
mod values;
