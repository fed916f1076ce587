//! What surrounded the error, as text: breadcrumbs, request, tags, and what tracker and alert say of it.
//!
//! Invariant: one block for each line, so that what does not fit is counted exactly.

use super::{Block, Caps, one};
use crate::alert::Alert;
use crate::evidence::{Breadcrumb, Event, Issue};
use crate::prompt::clean::{one_line, shorten};

/// One block for each breadcrumb, the latest first: what happened just before the error tells most.
pub(super) fn breadcrumbs(event: &Event, caps: Caps) -> Vec<Block> {
    let line = |crumb: &Breadcrumb| {
        let parts = [&crumb.at, &crumb.category, &crumb.level, &crumb.message, &crumb.data];
        parts.into_iter().flatten().map(|part| one_line(part, caps.text)).collect::<Vec<_>>().join("  ")
    };
    event.breadcrumbs.iter().rev().map(|crumb| one(line(crumb))).collect()
}

/// The request, line by line.
pub(super) fn request(event: &Event, caps: Caps) -> Vec<Block> {
    let Some(request) = &event.request else { return Vec::new() };
    let mut blocks = lines(
        &[("method", request.method.as_ref()), ("url", request.url.as_ref()), ("query", request.query.as_ref())],
        caps,
    );
    blocks.extend(
        request
            .headers
            .iter()
            .map(|(name, value)| one(format!("header {}: {}", one_line(name, caps.line), one_line(value, caps.line)))),
    );
    if let Some(body) = &request.body {
        blocks.push(one(format!("body: {}", shorten(body, caps.text))));
    }
    blocks
}

/// One block for each tag.
pub(super) fn tags(event: &Event, caps: Caps) -> Vec<Block> {
    pairs(&event.tags, caps)
}

/// One block for each context and each piece of extra data.
pub(super) fn more(event: &Event, caps: Caps) -> Vec<Block> {
    pairs(&event.more, caps)
}

fn pairs(pairs: &[(String, String)], caps: Caps) -> Vec<Block> {
    let line =
        |(name, value): &(String, String)| format!("{}: {}", one_line(name, caps.line), one_line(value, caps.line));
    pairs.iter().map(|pair| one(line(pair))).collect()
}

/// The tracker's statistics.
pub(super) fn issue(issue: &Issue, caps: Caps) -> Vec<Block> {
    let (events, users) = (issue.events.map(|n| n.to_string()), issue.users.map(|n| n.to_string()));
    let fields = [
        ("id", Some(&issue.id)),
        ("short id", issue.short_id.as_ref()),
        ("title", Some(&issue.title)),
        ("culprit", issue.culprit.as_ref()),
        ("level", issue.level.as_ref()),
        ("status", issue.status.as_ref()),
        ("substatus", issue.substatus.as_ref()),
        ("category", issue.category.as_ref()),
        ("events", events.as_ref()),
        ("users", users.as_ref()),
        ("first seen", issue.first_seen.as_ref()),
        ("last seen", issue.last_seen.as_ref()),
        ("first release", issue.first_release.as_ref()),
        ("last release", issue.last_release.as_ref()),
        ("address", issue.web_url.as_ref()),
    ];
    lines(&fields, caps)
}

/// What the alert itself says.
pub(super) fn alert(alert: &Alert, caps: Caps) -> Vec<Block> {
    let fields = [
        ("title", Some(&alert.title)),
        ("source", Some(&alert.source)),
        ("organisation", Some(&alert.org)),
        ("project", Some(&alert.project)),
        ("issue", Some(&alert.issue)),
        ("short id", alert.short_id.as_ref()),
        ("level", alert.level.as_ref()),
        ("environment", alert.environment.as_ref()),
        ("release", alert.release.as_ref()),
        ("event", alert.event_id.as_ref()),
        ("address", alert.web_url.as_ref()),
    ];
    lines(&fields, caps)
}

/// One block for each field that is there.
fn lines(fields: &[(&str, Option<&String>)], caps: Caps) -> Vec<Block> {
    let known = fields.iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    known.map(|(name, value)| one(format!("{name}: {}", one_line(value, caps.text)))).collect()
}
