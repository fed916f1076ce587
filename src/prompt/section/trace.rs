//! The trace as text: a waterfall, indented, with durations, gaps and errors.
//!
//! Invariant: the errors of all services are listed before the first span, and spans that are nested too deeply to be
//! indented are counted, not dropped.

use std::fmt::Write as _;

use super::{Block, Caps, one};
use crate::evidence::{Span, Trace};
use crate::prompt::clean::one_line;

/// Deepest span that is shown. A trace is hostile: its depth must not be the depth of our stack.
const DEEPEST: usize = 40;
/// Shortest time without a span that is worth a line, in milliseconds, and as a part of its parent's duration.
const GAP_MS: f64 = 50.0;
const GAP_PART: f64 = 0.1;

/// An overview, then one block for each span in the order of time.
pub(super) fn blocks(trace: &Trace, caps: Caps) -> Vec<Block> {
    let mut spans = Vec::new();
    let mut errors = Vec::new();
    walk(&trace.roots, 0, &mut |span, depth| {
        let service = one_line(span.project.as_deref().unwrap_or("unknown service"), 80);
        errors.extend(span.errors.iter().map(|error| format!("error in {service}: {}", one_line(error, caps.line))));
        spans.push((span, depth));
    });
    let mut overview = format!("trace {}: {} spans", one_line(&trace.id, 64), spans.len());
    if trace.omitted > 0 {
        let _ = write!(overview, " ({} more were left out when it was fetched)", trace.omitted);
    }
    if trace.more_pages {
        overview.push_str(" (and the tracker has more than was read)");
    }
    for error in &errors {
        let _ = write!(overview, "\n{error}");
    }
    overview.push_str("\nstart (ms) +duration (ms) [service] operation, indented by parent:");
    let mut blocks = vec![Block { text: overview, units: 0 }];
    blocks.extend(spans.into_iter().map(|(span, depth)| one(span_text(span, depth, caps))));
    blocks
}

/// Visits spans depth first without recursion beyond [`DEEPEST`].
fn walk<'a>(spans: &'a [Span], depth: usize, visit: &mut impl FnMut(&'a Span, usize)) {
    for span in spans {
        visit(span, depth);
        if depth < DEEPEST {
            walk(&span.children, depth + 1, visit);
        }
    }
}

/// One span, the gap before its first child, and a mark for each error.
fn span_text(span: &Span, depth: usize, caps: Caps) -> String {
    let indent = "  ".repeat(depth);
    let service = one_line(span.project.as_deref().unwrap_or("?"), 80);
    let mut text = format!("{indent}{:.0} +{:.0} [{service}]", span.start_ms, span.duration_ms);
    for part in [&span.op, &span.description].into_iter().flatten() {
        let _ = write!(text, " {}", one_line(part, caps.line));
    }
    if let Some(status) = span.status.as_deref().filter(|status| *status != "ok") {
        let _ = write!(text, " (status {})", one_line(status, 40));
    }
    for error in &span.errors {
        let _ = write!(text, "\n{indent}  !! error: {}", one_line(error, caps.line));
    }
    for (from, length) in gaps(span) {
        let _ = write!(text, "\n{indent}  .. {from:.0} +{length:.0} nothing recorded");
    }
    if depth == DEEPEST && !span.children.is_empty() {
        let _ = write!(text, "\n{indent}  ({} spans below are nested too deeply to be shown)", span.children.len());
    }
    text
}

/// Times inside a span, with children, that no child accounts for: start and length in milliseconds.
fn gaps(span: &Span) -> Vec<(f64, f64)> {
    if span.children.is_empty() {
        return Vec::new();
    }
    let worth = GAP_MS.max(span.duration_ms * GAP_PART);
    let mut children: Vec<(f64, f64)> =
        span.children.iter().map(|child| (child.start_ms, child.start_ms + child.duration_ms)).collect();
    children.sort_by(|a, b| a.0.total_cmp(&b.0));
    let end = span.start_ms + span.duration_ms;
    children.push((end, end));
    let mut at = span.start_ms;
    let mut found = Vec::new();
    for (start, stop) in children {
        if start - at >= worth {
            found.push((at, start - at));
        }
        at = at.max(stop);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start_ms: f64, duration_ms: f64, children: Vec<Span>) -> Span {
        Span { start_ms, duration_ms, children, ..Span::default() }
    }

    #[test]
    fn time_that_no_child_accounts_for_is_a_gap() {
        let parent =
            span(0.0, 1000.0, vec![span(400.0, 100.0, vec![]), span(0.0, 200.0, vec![]), span(510.0, 490.0, vec![])]);
        assert_eq!(gaps(&parent), vec![(200.0, 200.0)]);
        assert_eq!(gaps(&span(0.0, 1000.0, vec![])), vec![], "a leaf is its own work, not a gap");
    }

    #[test]
    fn a_very_deep_trace_is_cut_with_a_count() {
        let deep = (0..60).fold(span(0.0, 1.0, vec![]), |child, _| span(0.0, 1.0, vec![child]));
        let blocks = blocks(&Trace { roots: vec![deep], ..Trace::default() }, Caps::PROMPT);
        assert_eq!(blocks.len(), DEEPEST + 2);
        assert!(blocks.last().unwrap().text.contains("1 spans below are nested too deeply"));
    }
}
