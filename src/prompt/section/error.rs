//! The error as text: the chain of exceptions, then each one's frames with source lines and local variables.
//!
//! Invariant: frames of the application are shown in full, frames of libraries in one line each, in the order of the
//! stack. What was left out when the event was read is counted where it would stand.

use std::fmt::Write as _;

use super::{Block, Caps, hanging, line_of_code, one};
use crate::evidence::{Event, Exception, Frame};
use crate::prompt::clean::one_line;

/// The blocks of an event's error: an overview of the chain first, then one block for each frame.
pub(super) fn blocks(event: &Event, caps: Caps) -> Vec<Block> {
    let mut overview = String::new();
    for (label, value) in [
        ("title", Some(&event.title)),
        ("message", event.message.as_ref()),
        ("at", event.at.as_ref()),
        ("platform", event.platform.as_ref()),
        ("level", event.level.as_ref()),
        ("environment", event.environment.as_ref()),
        ("release", event.release.as_ref()),
        ("culprit", event.culprit.as_ref()),
        ("trace id", event.trace_id.as_ref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(overview, "{label}: {}", hanging(value, caps.text));
        }
    }
    for (at, exception) in event.exceptions.iter().enumerate() {
        let label = if at == 0 { "raised" } else { "  caused by" };
        if exception.omitted_before > 0 {
            let _ = writeln!(overview, "  caused by: {} more exceptions, left out here", exception.omitted_before);
        }
        let (kind, value) = (one_line(&exception.kind, caps.line), one_line(&exception.value, caps.line));
        let _ = writeln!(overview, "{label}: {kind}: {value}");
    }
    for problem in &event.processing_errors {
        let _ = writeln!(overview, "the tracker's problem with this event: {}", one_line(problem, caps.line));
    }
    if !event.omitted.is_empty() {
        let _ = writeln!(overview, "left out here: {}", one_line(&event.omitted.join(", "), caps.text));
    }
    let mut blocks = vec![Block { text: overview.trim_end().to_owned(), units: 0 }];
    for exception in &event.exceptions {
        let heading = format!("\n{}\n  (innermost frame first)", headline(exception, caps));
        if exception.frames.is_empty() {
            blocks.push(Block { text: format!("\n{}\n  (no stack trace)", headline(exception, caps)), units: 0 });
        }
        for (at, frame) in exception.frames.iter().enumerate() {
            let text = frame_text(frame, caps);
            blocks.push(one(if at == 0 { format!("{heading}\n{text}") } else { text }));
        }
        if exception.omitted_frames > 0 {
            let text = format!("  ({} more frames of this stack are left out here)", exception.omitted_frames);
            blocks.push(Block { text, units: 0 });
        }
    }
    blocks
}

/// `KeyError: 'rate' (module builtins, not handled)`.
fn headline(exception: &Exception, caps: Caps) -> String {
    let mut notes = Vec::new();
    if let Some(module) = &exception.module {
        notes.push(format!("module {}", one_line(module, caps.line)));
    }
    match exception.handled {
        Some(true) => notes.push("handled".to_owned()),
        Some(false) => notes.push("not handled".to_owned()),
        None => {}
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("{}: {}{notes}", one_line(&exception.kind, caps.line), hanging(&exception.value, caps.text))
}

/// One frame; source lines and locals only where it is the application's own.
fn frame_text(frame: &Frame, caps: Caps) -> String {
    let place = place(frame);
    let function = frame.function.as_deref().map_or_else(String::new, |f| format!(" in {}", one_line(f, caps.line)));
    let mut text = format!("  at {}{function}", one_line(&place, caps.line));
    if !frame.in_app {
        text.push_str("  [library]");
        return text;
    }
    if let Some(path) = frame.abs_path.as_ref().filter(|path| frame.file.as_ref() != Some(path)) {
        let _ = write!(text, "  ({})", one_line(path, caps.line));
    }
    for (number, line) in &frame.source {
        let mark = if Some(*number) == frame.line { '>' } else { ' ' };
        let _ = write!(text, "\n  {mark} {number:>5} | {}", line_of_code(line, caps.line));
    }
    for (at, (name, value)) in frame.locals.iter().enumerate() {
        let label = if at == 0 { "locals:" } else { "       " };
        let _ = write!(text, "\n    {label} {} = {}", one_line(name, caps.line), one_line(value, caps.line));
    }
    text
}

/// `app/checkout.py:42`, as far as it is known.
pub(in crate::prompt) fn place(frame: &Frame) -> String {
    let file = [&frame.file, &frame.abs_path, &frame.module].into_iter().flatten().find(|name| !name.is_empty());
    let mut place = file.map_or("unknown file", String::as_str).to_owned();
    for number in [frame.line, frame.line.and(frame.column)].into_iter().flatten() {
        let _ = write!(place, ":{number}");
    }
    place
}
