//! The exceptions of an event and their stacks.
//!
//! Invariant: the exception that was raised last comes first, and so does the innermost frame; what is cut is the part
//! that says least about the bug.

use serde_json::Value;

use super::Sections;
use super::field;
use super::text;
use crate::evidence::{Exception, Frame};

/// Most exceptions of a chain.
const EXCEPTIONS: usize = 20;
/// Most frames of one exception.
const FRAMES: usize = 120;
/// Source lines kept before and after the line of a frame.
const SOURCE_LINES: u32 = 7;
/// Longest source line, in bytes; minified code has lines of megabytes.
const SOURCE_LINE: usize = 400;
/// Most local variables of one frame.
pub(super) const LOCALS: usize = 40;
/// Longest printed local variable, in bytes.
const LOCAL: usize = 1024;
/// Longest message of an exception, in bytes.
const MESSAGE: usize = 8 * 1024;

/// The chain of exceptions. An event that has a stack but no exception, such as a logged message or a native crash, gets
/// one exception that is named after `title`.
pub(super) fn exceptions(sections: Sections<'_>, title: &str) -> Vec<Exception> {
    let section = sections.get("exception");
    let alone = section.filter(|one| one.get("type").is_some() || one.get("value").is_some());
    let chain = alone.map_or_else(|| field::list(section), std::slice::from_ref);
    // Sentry's order is from the first cause to the exception that was raised last.
    let mut exceptions: Vec<_> = chain.iter().rev().filter(|one| one.is_object()).map(exception).collect();
    if exceptions.len() > EXCEPTIONS {
        // The first cause says more than the wrappers in the middle.
        let left_out = exceptions.drain(EXCEPTIONS - 1..exceptions.len() - 1).count();
        if let Some(first_cause) = exceptions.last_mut() {
            first_cause.omitted_before = left_out;
        }
    }
    match exceptions.first_mut() {
        Some(raised_last) if raised_last.frames.is_empty() => {
            (raised_last.frames, raised_last.omitted_frames) = thread_frames(sections);
        }
        Some(_) => {}
        None => {
            let (frames, omitted_frames) = thread_frames(sections);
            if !frames.is_empty() {
                exceptions.push(Exception { kind: title.to_owned(), frames, omitted_frames, ..Exception::default() });
            }
        }
    }
    let frames = || exceptions.iter().flat_map(|exception| &exception.frames);
    // Many SDKs mark none, and then the marks say nothing.
    if !frames().any(|frame| frame.in_app) {
        exceptions.iter_mut().flat_map(|exception| &mut exception.frames).for_each(|frame| frame.in_app = true);
    }
    exceptions
}

fn exception(one: &Value) -> Exception {
    let (frames, omitted_frames) = frames(one.get("stacktrace"));
    Exception {
        kind: field::short(one, &["type"]).unwrap_or_default(),
        value: field::long(one, &["value"], MESSAGE).or_else(|| field::short(one, &["value"])).unwrap_or_default(),
        module: field::short(one, &["module"]),
        handled: one.get("mechanism").and_then(|mechanism| field::truth(mechanism, &["handled"])),
        frames,
        omitted_frames,
        omitted_before: 0,
    }
}

/// The stack of the thread that crashed, else of the current one, else the stack that the event itself carries.
fn thread_frames(sections: Sections<'_>) -> (Vec<Frame>, usize) {
    let threads = field::list(sections.get("threads"));
    let marked = |mark| threads.iter().find(|thread| field::truth(thread, &[mark]) == Some(true));
    let thread = marked("crashed").or_else(|| marked("current"));
    frames(thread.and_then(|thread| thread.get("stacktrace")).or_else(|| sections.get("stacktrace")))
}

/// The frames of a stack, innermost first; of a stack that is too deep, the innermost and the application's own, and how many
/// were left out.
fn frames(stack: Option<&Value>) -> (Vec<Frame>, usize) {
    // Sentry's order is from the oldest call to the newest.
    let all: Vec<&Value> = stack.map_or(&[][..], |stack| field::list(stack.get("frames"))).iter().rev().collect();
    let wanted = |(depth, frame): &(usize, &&Value)| *depth == 0 || is_in_app(frame);
    let (preferred, rest): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(wanted);
    let mut kept: Vec<_> = preferred.into_iter().chain(rest).take(FRAMES).collect();
    kept.sort_unstable_by_key(|(depth, _)| *depth);
    let omitted = all.len() - kept.len();
    (kept.into_iter().map(|(_, one)| frame(one)).collect(), omitted)
}

fn is_in_app(frame: &Value) -> bool {
    field::truth(frame, &["inApp", "in_app"]).unwrap_or_default()
}

fn frame(frame: &Value) -> Frame {
    let line = field::position(frame, &["lineNo", "lineno"]);
    Frame {
        function: field::short(frame, &["function", "rawFunction", "raw_function"]),
        file: field::short(frame, &["filename"]),
        abs_path: field::short(frame, &["absPath", "abs_path"]),
        module: field::short(frame, &["module", "package"]),
        line,
        column: field::position(frame, &["colNo", "colno"]),
        in_app: is_in_app(frame),
        source: line.map(|line| source(frame, line)).unwrap_or_default(),
        locals: locals(frame),
    }
}

/// Source lines around `line`: numbered ones from the API, else the three lists of a webhook.
fn source(frame: &Value, line: u32) -> Vec<(u32, String)> {
    let numbered = field::list(frame.get("context")).iter().filter_map(|pair| {
        let number = u32::try_from(pair.get(0)?.as_u64()?).ok()?;
        Some((number, pair.get(1)?.as_str()?))
    });
    let before = field::list(field::any(frame, &["pre_context", "preContext"]));
    let after = field::list(field::any(frame, &["post_context", "postContext"]));
    let first = i64::from(line) - i64::try_from(before.len()).unwrap_or(i64::MAX);
    let listed = before.iter().chain(field::any(frame, &["context_line", "contextLine"])).chain(after);
    let listed = (first..).zip(listed).filter_map(|(number, text)| Some((u32::try_from(number).ok()?, text.as_str()?)));
    numbered
        .chain(listed)
        .filter(|(number, _)| *number > 0 && number.abs_diff(line) <= SOURCE_LINES)
        .take(2 * SOURCE_LINES as usize + 1)
        .map(|(number, text)| (number, text::block(text, SOURCE_LINE).trim_end().to_owned()))
        .collect()
}

fn locals(frame: &Value) -> Vec<(String, String)> {
    let variables = frame.get("vars").filter(|vars| vars.is_object()).map(field::pairs).unwrap_or_default();
    let printed = |value| field::printed(value, LOCAL).unwrap_or_else(|| value.to_string());
    variables.into_iter().take(LOCALS).map(|(name, value)| (name, printed(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn only_exception(event: &Value) -> Exception {
        let mut chain = exceptions(Sections::of(event), "title");
        assert_eq!(chain.len(), 1);
        chain.remove(0)
    }

    fn with_frames(frames: &Value) -> Exception {
        only_exception(&json!({ "exception": { "values": [{ "type": "E", "stacktrace": { "frames": frames } }] } }))
    }

    #[test]
    fn the_exception_raised_last_and_the_innermost_frame_come_first() {
        let event = json!({ "exception": { "values": [
            { "type": "KeyError", "value": "'price'", "stacktrace": { "frames": [{ "function": "main" }, { "function": "lookup" }] } },
            { "type": "CheckoutError", "value": "no price", "mechanism": { "handled": false } },
        ] } });
        let chain = exceptions(Sections::of(&event), "");
        let kinds: Vec<_> = chain.iter().map(|one| one.kind.as_str()).collect();
        assert_eq!(kinds, ["CheckoutError", "KeyError"]);
        assert_eq!(chain[0].handled, Some(false));
        assert_eq!(chain[1].frames[0].function.as_deref(), Some("lookup"));
    }

    #[test]
    fn of_a_long_chain_the_last_ones_and_the_first_cause_are_kept() {
        let values: Vec<_> = (0..40).map(|n| json!({ "type": format!("E{n}") })).collect();
        let event = json!({ "exception": { "values": values } });
        let kinds: Vec<_> = exceptions(Sections::of(&event), "").into_iter().map(|one| one.kind).collect();
        assert_eq!(kinds.len(), EXCEPTIONS);
        assert_eq!((kinds[0].as_str(), kinds[EXCEPTIONS - 1].as_str()), ("E39", "E0"));
        assert_eq!(exceptions(Sections::of(&event), "")[EXCEPTIONS - 1].omitted_before, 40 - EXCEPTIONS);
    }

    #[test]
    fn a_deep_stack_keeps_the_innermost_frame_and_the_applications_own() {
        let frames: Vec<_> =
            (0..500).map(|n| json!({ "function": format!("f{n}"), "in_app": n % 10 == 0 && n < 300 })).collect();
        let exception = with_frames(&json!(frames));
        assert_eq!(exception.omitted_frames, 500 - FRAMES);
        let kept = exception.frames;
        assert_eq!(kept.len(), FRAMES);
        assert_eq!(kept[0].function.as_deref(), Some("f499"));
        assert_eq!(kept.iter().filter(|frame| frame.in_app).count(), 30);
        assert_eq!(kept[FRAMES - 1].function.as_deref(), Some("f0"));
    }

    #[test]
    fn where_no_frame_is_marked_as_the_applications_own_all_count_as_it() {
        let unmarked = with_frames(&json!([{ "function": "a", "in_app": false }, { "function": "b" }])).frames;
        assert!(unmarked.iter().all(|frame| frame.in_app));
        let marked = with_frames(&json!([{ "function": "a", "in_app": true }, { "function": "b" }])).frames;
        assert_eq!(marked.iter().filter(|frame| frame.in_app).count(), 1);
    }

    #[test]
    fn both_spellings_of_source_lines_give_the_same() {
        let webhook = json!([{ "lineno": 2, "pre_context": ["a"], "context_line": "b", "post_context": ["c"] }]);
        let api = json!([{ "lineNo": 2, "context": [[1, "a"], [2, "b"], [3, "c"]] }]);
        let expected = [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
        assert_eq!(with_frames(&webhook).frames[0].source, expected);
        assert_eq!(with_frames(&api).frames[0].source, expected);
    }

    #[test]
    fn source_lines_that_would_be_before_the_first_are_dropped() {
        let frame = json!([{ "lineno": 1, "pre_context": ["x", "y"], "context_line": "b" }]);
        assert_eq!(with_frames(&frame).frames[0].source, [(1, "b".to_owned())]);
    }

    #[test]
    fn locals_are_printed_compactly_and_capped() {
        let frame = json!([{ "vars": { "big": "x".repeat(5000), "cart": { "items": [1, 2] }, "none": null } }]);
        let locals = &with_frames(&frame).frames[0].locals;
        assert_eq!(locals[0].1.len(), LOCAL);
        assert_eq!(locals[1], ("cart".to_owned(), r#"{"items":[1,2]}"#.to_owned()));
        assert_eq!(locals[2], ("none".to_owned(), "null".to_owned()));
    }

    #[test]
    fn at_most_forty_locals_are_kept() {
        let vars: serde_json::Map<_, _> = (0..99).map(|n| (format!("v{n}"), json!(n))).collect();
        assert_eq!(with_frames(&json!([{ "vars": vars }])).frames[0].locals.len(), LOCALS);
    }

    #[test]
    fn a_message_with_the_stack_of_the_current_thread_is_shown_as_one_exception() {
        let event = json!({ "entries": [{ "type": "threads", "data": { "values": [
            { "current": false, "stacktrace": { "frames": [{ "function": "idle" }] } },
            { "current": true, "stacktrace": { "frames": [{ "function": "work" }] } },
        ] } }] });
        let exception = only_exception(&event);
        assert_eq!(exception.kind, "title");
        assert_eq!(exception.frames[0].function.as_deref(), Some("work"));
    }
}
