//! Stand-ins for other people's servers.

pub(crate) mod github;
pub(crate) mod sentry;
