//! Which of Sentry's kinds of issue a change of code can end.
//!
//! Invariant: one rule for what webhooks and the API say: errors and slow code are work, every other kind has its sentence.

/// Why an issue of this category is not one that a change of code can end; `None` for errors and slow code.
///
/// Categories of the issue platform, old (`performance`, `cron`) and new (`db_query`, `outage`); before it, `type`.
#[must_use]
pub fn not_code(category: &str) -> Option<&'static str> {
    Some(match category {
        "error" | "default" | "performance" | "profile" | "db_query" | "http_client" | "frontend" | "mobile" => {
            return None;
        }
        "feedback" => "it is feedback of a user",
        "cron" => "a scheduled task was late or failed, which names no place in the code",
        "outage" | "uptime" => "it is an outage, which names no place in the code",
        "metric" | "metric_alert" => "a metric crossed a threshold, which names no place in the code",
        "replay" => "it was seen in a session replay, without a stack trace",
        _ => "the issue's category is not one of errors",
    })
}

/// The category of an occurrence by the number of its type, which an event carries that belongs to no error. Sentry gives
/// each category a thousand of them.
pub(super) const fn of_occurrence(kind: u64) -> &'static str {
    match kind / 1000 {
        0 => "error",
        1 => "performance",
        2 => "profile",
        4 => "cron",
        5 => "replay",
        6 => "feedback",
        7 => "uptime",
        8 => "metric",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_slow_code_are_work_by_name_and_by_number() {
        for kind in [1, 1006, 2001] {
            assert_eq!(not_code(of_occurrence(kind)), None, "{kind}");
        }
        for (kind, word) in
            [(4001, "scheduled"), (5002, "replay"), (6001, "feedback"), (7001, "outage"), (8001, "metric")]
        {
            assert!(not_code(of_occurrence(kind)).is_some_and(|why| why.contains(word)), "{kind}");
        }
        assert!(not_code(of_occurrence(99_001)).is_some());
    }
}
