//! The supervisor process (see `process.rs`).
