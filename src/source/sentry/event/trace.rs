//! The trace across services, as a tree of bounded size and depth.
//!
//! Invariant: at most [`SPANS`] spans no deeper than [`DEPTH`]; spans with errors and their ancestors stay, and what is
//! left out is counted.

use chrono::DateTime;
use serde_json::Value;

use super::field;
use super::text;
use crate::evidence::{Span, Trace};

/// Most spans that are kept.
const SPANS: usize = 500;
/// Deepest level that is kept. The tree is stored as JSON, whose readers stop at 128 levels, and a span takes two.
const DEPTH: usize = 40;
/// Longest description of a span, in bytes.
const DESCRIPTION: usize = 500;
/// Most errors of one span.
const ERRORS: usize = 20;

/// A span in Sentry's tree, with the index of its parent in a list in which parents come first.
struct Node<'a> {
    span: &'a Value,
    parent: Option<usize>,
    depth: usize,
}

/// The trace as `GET /organizations/{org}/trace/{id}/` gives it: a list of trees of spans, among them errors that belong
/// to no span. Older servers wrap it as `{transactions, orphan_errors}`.
#[must_use]
pub fn trace_from_api(trace: &Value) -> Trace {
    let nodes = breadth_first(trace);
    let origin = nodes.iter().filter_map(|node| start(node.span)).reduce(f64::min).unwrap_or_default();
    let kept = choose(&nodes);
    let omitted = kept.iter().filter(|kept| !**kept).count();
    let mut spans: Vec<Option<Span>> =
        nodes.iter().zip(&kept).map(|(node, kept)| kept.then(|| span(node.span, origin))).collect();
    let mut roots = Vec::new();
    // From the last to the first: every span has all its children when it goes to its own parent.
    for (index, node) in nodes.iter().enumerate().rev() {
        let Some(mut span) = spans.get_mut(index).and_then(Option::take) else { continue };
        span.children.reverse();
        match node.parent.and_then(|parent| spans.get_mut(parent)?.as_mut()) {
            Some(parent) => parent.children.push(span),
            None => roots.push(span),
        }
    }
    roots.reverse();
    Trace { id: id_of(&nodes), roots, omitted: omitted as u64, more_pages: false }
}

/// All spans, level by level. A page that repeats a root (the endpoint ignores its own cursor) adds nothing.
fn breadth_first(trace: &Value) -> Vec<Node<'_>> {
    let wrapped = ["transactions", "orphan_errors"].into_iter().flat_map(|name| field::list(trace.get(name)));
    let mut seen = std::collections::HashSet::new();
    let mut nodes: Vec<_> = field::list(Some(trace))
        .iter()
        .chain(wrapped)
        .filter(|root| root.is_object())
        .filter(|root| field::short(root, &["span_id", "event_id", "id"]).is_none_or(|id| seen.insert(id)))
        .map(|span| Node { span, parent: None, depth: 0 })
        .collect();
    let mut next = 0;
    while let Some(node) = nodes.get(next) {
        let (span, depth) = (node.span, node.depth + 1);
        let children = field::list(span.get("children")).iter().filter(|child| child.is_object());
        nodes.extend(children.map(|span| Node { span, parent: Some(next), depth }));
        next += 1;
    }
    nodes
}

/// Which spans to keep: first those with errors and their ancestors, then the others from the top down. A span is kept
/// only together with its parent.
fn choose(nodes: &[Node<'_>]) -> Vec<bool> {
    let mut kept = vec![false; nodes.len()];
    let mut room = SPANS;
    for (index, node) in nodes.iter().enumerate() {
        if node.depth >= DEPTH || problems(node.span).next().is_none() {
            continue;
        }
        let line: Vec<usize> = std::iter::successors(Some(index), |at| nodes.get(*at)?.parent)
            .take_while(|at| kept.get(*at) == Some(&false))
            .collect();
        if line.len() <= room {
            room -= line.len();
            line.into_iter().for_each(|at| keep(&mut kept, at));
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        let parent_kept = node.parent.is_none_or(|parent| kept.get(parent) == Some(&true));
        if room > 0 && node.depth < DEPTH && parent_kept && kept.get(index) == Some(&false) {
            keep(&mut kept, index);
            room -= 1;
        }
    }
    kept
}

fn keep(kept: &mut [bool], at: usize) {
    if let Some(mark) = kept.get_mut(at) {
        *mark = true;
    }
}

fn span(span: &Value, origin: f64) -> Span {
    let start = start(span);
    let end = seconds(span, &["end_timestamp", "timestamp"]);
    let measured = start.zip(end).map_or(0.0, |(start, end)| (end - start) * 1000.0);
    let is_error = is_error(span);
    Span {
        project: field::short(span, &["project_slug", "project"]),
        op: field::short(span, &["op", "transaction.op"]).or_else(|| is_error.then(|| "error".to_owned())),
        description: described(span, &["description", "transaction", "title", "message", "name"]),
        start_ms: millis(start.map_or(0.0, |start| (start - origin) * 1000.0)),
        duration_ms: millis(field::any(span, &["duration"]).and_then(Value::as_f64).unwrap_or(measured)),
        status: field::short(span, &["status", "transaction.status"]),
        errors: problems(span).take(ERRORS).collect(),
        children: Vec::new(),
    }
}

/// Titles of the errors and findings that belong to the span; an error that stands alone belongs to itself.
fn problems(span: &Value) -> impl Iterator<Item = String> + '_ {
    let itself = is_error(span).then_some(span);
    let listed = ["errors", "occurrences"].into_iter().flat_map(|name| field::list(span.get(name)));
    itself.into_iter().chain(listed).filter_map(|error| described(error, &["title", "description", "message"]))
}

fn is_error(span: &Value) -> bool {
    let kind = field::short(span, &["event_type", "type"]);
    matches!(kind.as_deref(), Some("error" | "occurrence")) && span.get("children").is_none()
}

fn described(value: &Value, names: &[&str]) -> Option<String> {
    field::short(value, names).map(|description| text::line(&description, DESCRIPTION))
}

fn start(span: &Value) -> Option<f64> {
    seconds(span, &["start_timestamp", "timestamp"])
}

/// Seconds since 1970, from a number or an RFC 3339 text.
fn seconds(value: &Value, names: &[&str]) -> Option<f64> {
    let value = field::any(value, names)?;
    let from_text = || DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|at| at.timestamp_micros());
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit in 52 bits until the year 2112")]
    value.as_f64().or_else(|| from_text().map(|micros| micros as f64 / 1e6))
}

/// Rounded to a microsecond; what is no sensible time is zero, since JSON has no infinity.
fn millis(millis: f64) -> f64 {
    if millis.is_finite() && millis.abs() < 1e15 { (millis * 1000.0).round() / 1000.0 } else { 0.0 }
}

fn id_of(nodes: &[Node<'_>]) -> String {
    nodes.iter().find_map(|node| field::short(node.span, &["trace", "trace_id"])).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(spans: &[Span]) -> usize {
        spans.iter().map(|span| 1 + count(&span.children)).sum()
    }

    #[test]
    fn times_are_relative_to_the_first_span_and_children_keep_their_order() {
        let trace = trace_from_api(&json!([
            { "span_id": "a", "start_timestamp": 1000.5, "end_timestamp": 1002.0, "op": "http.server", "project_slug": "web",
              "children": [
                { "span_id": "b", "start_timestamp": 1000.75, "duration": 250, "op": "db", "children": [] },
                { "span_id": "c", "start_timestamp": 1001.0, "end_timestamp": "1970-01-01T00:16:41.500Z", "children": [] },
              ] },
        ]));
        let root = &trace.roots[0];
        let times: Vec<_> = root.children.iter().map(|span| (span.start_ms, span.duration_ms)).collect();
        assert_eq!((root.start_ms, root.duration_ms), (0.0, 1500.0));
        assert_eq!(times, [(250.0, 250.0), (500.0, 500.0)]);
    }

    #[test]
    fn errors_are_collected_from_spans_and_from_beside_them() {
        let trace = trace_from_api(&json!([
            { "span_id": "a", "start_timestamp": 10, "children": [], "errors": [{ "description": "KeyError" }],
              "occurrences": [{ "description": "N+1 Query", "event_type": "occurrence" }] },
            { "id": 7, "type": "error", "title": "TypeError: x", "project_slug": "api", "timestamp": 12 },
        ]));
        assert_eq!(trace.roots[0].errors, ["KeyError", "N+1 Query"]);
        let alone = &trace.roots[1];
        assert_eq!((alone.op.as_deref(), alone.start_ms), (Some("error"), 2000.0));
        assert_eq!(alone.errors, ["TypeError: x"]);
    }

    #[test]
    fn of_a_large_trace_the_span_with_the_error_is_kept_and_the_rest_counted() {
        let spans: Vec<_> = (0..2000)
            .map(|n| {
                let leaf = json!({ "span_id": format!("leaf{n}"), "errors": if n == 1999 { json!([{ "title": "boom" }]) } else { json!([]) } });
                json!({ "span_id": format!("s{n}"), "children": [leaf] })
            })
            .collect();
        let trace = trace_from_api(&json!(spans));
        assert_eq!((count(&trace.roots), trace.omitted), (SPANS, 3500));
        assert_eq!(trace.roots[SPANS - 2].children[0].errors, ["boom"]);
    }

    #[test]
    fn a_trace_that_is_too_deep_is_cut_and_can_still_be_stored() {
        let mut span = json!({ "errors": [{ "title": "deepest" }] });
        for _ in 0..300 {
            span = json!({ "children": [span] });
        }
        let trace = trace_from_api(&json!([span]));
        assert_eq!((count(&trace.roots), trace.omitted), (DEPTH, 301 - DEPTH as u64));
        let stored = serde_json::to_string(&trace).unwrap();
        assert_eq!(serde_json::from_str::<Trace>(&stored).unwrap(), trace);
    }

    #[test]
    fn a_page_that_repeats_the_first_one_adds_nothing() {
        let root = json!({ "span_id": "a", "children": [] });
        assert_eq!(trace_from_api(&json!([root, root])).roots.len(), 1);
    }
}
