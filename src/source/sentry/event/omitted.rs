//! What of an event was left out when it was read, as counts.
//!
//! Invariant: every limit on the number of things in an event is either counted here or beside the things themselves.

use serde_json::Value;

use super::Sections;
use super::circumstances::PROCESSING_ERRORS;
use super::field;
use super::stack::LOCALS;
use crate::evidence::Event;

/// One line for each kind of thing of which `kept` has fewer than the event.
pub(super) fn omitted(event: &Value, sections: Sections<'_>, kept: &Event) -> Vec<String> {
    let tags = event.get("tags").map(field::pairs).unwrap_or_default();
    let tags = tags.iter().filter(|(name, _)| name != "user").count();
    let chain = field::list(sections.get("exception"));
    let frames = chain.iter().flat_map(|one| one.get("stacktrace")).flat_map(|stack| field::list(stack.get("frames")));
    let variables = frames.filter_map(|frame| frame.get("vars")?.as_object()).map(serde_json::Map::len);
    [
        (field::list(sections.get("breadcrumbs")).len().saturating_sub(kept.breadcrumbs.len()), "earlier breadcrumbs"),
        (tags.saturating_sub(kept.tags.len()), "tags"),
        (variables.map(|count| count.saturating_sub(LOCALS)).sum(), "local variables"),
        (field::list(event.get("errors")).len().saturating_sub(PROCESSING_ERRORS), "problems of the tracker"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}
