//! Tests of a whole call.
