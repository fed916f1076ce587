//! What an event says in words: its title, its message, and the findings of events that are no exceptions.
//!
//! Invariant: every event has a title, and an event without an exception says in its message what was found.

use serde_json::Value;

use super::Sections;
use super::field;
use super::text;

/// Longest title, in bytes.
const TITLE: usize = 512;
/// Longest message, in bytes.
const MESSAGE: usize = 8 * 1024;
/// Longest single finding, in bytes.
const FINDING: usize = 2 * 1024;
/// Most findings.
const FINDINGS: usize = 20;

/// One line that names the event. The title of a detector's finding (a slow query, a cron job that was missed) is better
/// than that of the event it was found in, which is the name of a transaction.
pub(super) fn title(event: &Value) -> String {
    let nothing = Value::Null;
    let [occurrence, metadata] = ["occurrence", "metadata"].map(|name| event.get(name).unwrap_or(&nothing));
    field::short(occurrence, &["issueTitle", "issue_title"])
        .or_else(|| field::short(event, &["title"]))
        .or_else(|| field::short(metadata, &["title"]))
        .or_else(|| {
            let parts = [field::short(metadata, &["type"]), field::short(metadata, &["value"])];
            let named = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
            (!named.is_empty()).then(|| text::line(&named, TITLE))
        })
        .or_else(|| logged(event, Sections::of(event)).map(|message| text::line(&message, TITLE)))
        .unwrap_or_else(|| "Event without a title".to_owned())
}

/// The logged message, where it says more than the title, and below it the findings.
pub(super) fn message(event: &Value, sections: Sections<'_>, title: &str) -> Option<String> {
    let mut lines: Vec<String> =
        logged(event, sections).filter(|message| message.trim() != title).into_iter().collect();
    if let Some(occurrence) = event.get("occurrence") {
        lines.extend(findings(occurrence));
    }
    if let Some(report) = sections.get("csp") {
        lines.extend(policy_violation(report));
    }
    (!lines.is_empty()).then(|| text::block(&lines.join("\n"), MESSAGE))
}

/// The message that the program logged.
fn logged(event: &Value, sections: Sections<'_>) -> Option<String> {
    let candidates = [sections.get("message"), sections.get("logentry"), sections.get("sentry.interfaces.Message")];
    candidates
        .into_iter()
        .flatten()
        .find_map(|section| {
            field::long(section, &["formatted"], MESSAGE)
                .or_else(|| field::long(section, &["message"], MESSAGE))
                .or_else(|| field::scalar(section, MESSAGE))
        })
        .or_else(|| field::long(event, &["message"], MESSAGE))
}

/// What a detector found, as Sentry shows it on the issue's page.
fn findings(occurrence: &Value) -> Vec<String> {
    let shown = field::any(occurrence, &["evidenceDisplay", "evidence_display"]);
    let data = field::any(occurrence, &["evidenceData", "evidence_data"]);
    field::short(occurrence, &["subtitle"])
        .into_iter()
        .chain(field::list(shown).iter().take(FINDINGS).filter_map(|finding| {
            Some(format!("{}: {}", field::short(finding, &["name"])?, field::printed(finding.get("value")?, FINDING)?))
        }))
        .chain(data.and_then(|data| field::printed(data, FINDING)).map(|data| format!("Evidence: {data}")))
        .collect()
}

/// A content-security-policy report; the whole policy is left out, it is long and the directive names the part.
fn policy_violation(report: &Value) -> Vec<String> {
    let fields: [(&str, &[&str]); 7] = [
        ("Violated directive", &["effective_directive", "effective-directive", "violated_directive"]),
        ("Blocked", &["blocked_uri", "blocked-uri"]),
        ("Page", &["document_uri", "document-uri"]),
        ("Source file", &["source_file", "source-file"]),
        ("Line", &["line_number", "line-number"]),
        ("Disposition", &["disposition"]),
        ("Sample", &["script_sample", "script-sample"]),
    ];
    fields.iter().filter_map(|(name, names)| Some(format!("{name}: {}", field::short(report, names)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn title_and_message(event: &Value) -> (String, String) {
        let title = title(event);
        let message = message(event, Sections::of(event), &title).unwrap_or_default();
        (title, message)
    }

    #[test]
    fn a_performance_issue_is_named_by_its_finding_and_tells_the_evidence() {
        let (title, message) =
            title_and_message(&json!({ "title": "GET /users", "type": "transaction", "occurrence": {
            "issueTitle": "N+1 Query", "subtitle": "SELECT user",
            "evidenceDisplay": [{ "name": "Repeating Spans", "value": "25 times", "important": true }],
            "evidenceData": { "op": "db" },
        } }));
        assert_eq!(title, "N+1 Query");
        assert_eq!(message, "SELECT user\nRepeating Spans: 25 times\nEvidence: {\"op\":\"db\"}");
    }

    #[test]
    fn a_policy_violation_tells_directive_and_place() {
        let event = json!({ "title": "Blocked 'image'", "type": "csp", "entries": [{ "type": "csp", "data": {
            "effective_directive": "img-src", "blocked_uri": "blob", "line_number": 61, "original_policy": "default-src 'none'",
        } }] });
        assert_eq!(title_and_message(&event).1, "Violated directive: img-src\nBlocked: blob\nLine: 61");
    }

    #[test]
    fn a_logged_message_is_not_repeated_where_it_is_the_title() {
        let event =
            json!({ "title": "disk full", "entries": [{ "type": "message", "data": { "formatted": "disk full" } }] });
        assert_eq!(title_and_message(&event), ("disk full".to_owned(), String::new()));
    }

    #[test]
    fn an_event_without_a_title_is_named_by_its_message() {
        let event = json!({ "logentry": { "message": "disk %s", "formatted": "disk full" } });
        assert_eq!(title_and_message(&event).0, "disk full");
        assert_eq!(title_and_message(&json!([])).0, "Event without a title");
    }
}
