//! The one place that asks what time it is.
//!
//! Invariant: time is stored and compared as UTC milliseconds; nothing outside this file calls `Utc::now`.

use chrono::{DateTime, SubsecRound, Utc};

/// A moment in UTC, with millisecond precision because that is what the database keeps.
pub type Moment = DateTime<Utc>;

/// The present moment, cut to whole milliseconds.
#[must_use]
pub fn now() -> Moment {
    Utc::now().trunc_subsecs(3)
}

/// Milliseconds since 1970-01-01T00:00:00Z, the form in which the store keeps a moment.
#[must_use]
pub fn to_millis(moment: Moment) -> i64 {
    moment.timestamp_millis()
}

/// The moment for a stored number of milliseconds; numbers no calendar can show become the epoch.
#[must_use]
pub fn from_millis(millis: i64) -> Moment {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_round_trip_through_milliseconds() {
        let moment = now();
        assert_eq!(from_millis(to_millis(moment)), moment);
    }
}
