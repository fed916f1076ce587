//! Other people's servers that refuse, limit, break down or lose an answer, through the real program.
//!
//! Invariant: every refusal ends in a sentence that says what to do, every passing trouble ends by itself, and no trouble
//! opens a second pull request.

mod github;
mod sentry;

use serde_json::{Value, json};

/// The latest event of an issue as Sentry's API answers it.
pub(crate) fn event(issue: &str) -> Value {
    json!({
        "id": "e".repeat(32), "eventID": "e".repeat(32), "groupID": issue, "title": "DivisionByZero: division by 0",
        "platform": "other", "dateCreated": "2026-03-01T10:00:00Z",
        "tags": [
            { "key": "environment", "value": "production" }, { "key": "level", "value": "error" },
            { "key": "release", "value": "web@1.0.0" },
        ],
        "release": { "version": "web@1.0.0" },
        "contexts": { "trace": { "type": "trace", "trace_id": "11112222333344445555666677778888" } },
        "entries": [{ "type": "exception", "data": { "values": [{
            "type": "DivisionByZero", "value": "division by 0",
            "stacktrace": { "frames": [{
                "filename": "app.sh", "absPath": "/srv/web/app.sh", "function": "main", "lineNo": 2, "inApp": true,
                "context": [[2, "echo $(($1 / $2))"]], "vars": { "2": "0" },
            }] },
        }] } }],
    })
}
