//! The edge to the host: the only code that knows the Proxy-Wasm ABI, and the only unsafe code.
//!
//! Spec: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>. The Rust SDK is not used: its getters panic
//! on statuses and bytes that hosts do send, and a panic takes the VM down with every queued trace (docs/design.md,
//! "Host edge"). Here every status and every byte becomes a value, and every callback lets the traffic go on.
//!
//! ```text
//! exports.rs   what the host calls: finds the context, never fails
//! root.rs      configuration and end of one root context; active.rs: what it sends where
//! clock.rs     whose tick drives which root
//! callout.rs   export calls; notes.rs: what they have to say
//! stream.rs    one HTTP exchange → call::Call
//! gateway.rs   what nginx and Kong say of it
//! hostcalls.rs what the filter calls, safe; abi.rs: the same, as the ABI has it
//! ```

#![expect(unsafe_code, reason = "the ABI is a C interface")]

mod abi;
mod active;
mod callout;
mod clock;
mod exports;
mod gateway;
mod hostcalls;
mod log;
mod metrics;
mod notes;
mod root;
mod stream;
mod vm;
