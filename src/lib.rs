//! Patchwright turns a production alert into a draft pull request that a person reviews.
//!
//! Invariant: a module imports only from its own row of this table and from the rows above it; `tests/it/tidy.rs` sees to
//! it, and `ARCHITECTURE.md` has the map and the reasons.
//!
//! | layer | modules |
//! |---|---|
//! | words: plain data, no I/O | [`alert`] [`evidence`] [`job`] [`outcome`] [`limits`] [`redact`] [`clock`] [`config`] |
//! | seams: the outside world | [`source`] [`store`] [`forge`] [`git`] [`process`] [`telemetry`] |
//! | stages: one each | [`triage`] [`context`] [`prompt`] [`agent`] [`proof`] [`publish`] [`workspace`] |
//! | story: their order | [`pipeline`] |
//! | drivers: what runs it | [`http`] [`worker`] |
//! | face: commands for people | [`cli`] |

pub mod alert;
pub mod clock;
pub mod config;
pub mod evidence;
pub mod job;
pub mod limits;
pub mod outcome;
pub mod redact;

pub mod forge;
pub mod git;
pub mod process;
pub mod source;
pub mod store;
pub mod telemetry;

pub mod agent;
pub mod context;
pub mod prompt;
pub mod proof;
pub mod publish;
pub mod triage;
pub mod workspace;

pub mod pipeline;

pub mod http;
pub mod worker;

pub mod cli;
