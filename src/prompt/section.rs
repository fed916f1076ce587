//! The evidence as sections of text, the most telling first.
//!
//! Invariant: plain text that is not fenced yet; a section is made of blocks, so that what does not fit can be counted.

mod around;
mod code;
mod error;
mod trace;

pub(super) use error::place;

use crate::evidence::{Context, Found, Provenance};

/// How much of one value is shown, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Caps {
    /// A message or a body.
    text: usize,
    /// A line of code, a local variable, a header.
    line: usize,
    /// One diff.
    diff: usize,
}

impl Caps {
    /// For the prompt.
    pub(super) const PROMPT: Self = Self { text: 2_000, line: 300, diff: 8_000 };
    /// For the context folder: everything.
    pub(super) const FULL: Self = Self { text: usize::MAX, line: usize::MAX, diff: usize::MAX };
}

/// A piece of a section that is shown whole or left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// The text.
    pub text: String,
    /// How many units (frames, spans, …) it shows.
    pub units: usize,
}

/// One kind of evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    /// Heading, ours.
    pub title: &'static str,
    /// Where the evidence came from, for the fence.
    pub source: String,
    /// The file of the context folder that has all of it.
    pub file: &'static str,
    /// What its blocks show.
    pub unit: &'static str,
    /// The part of the budget that is kept for it while others want more, in percent.
    pub share: usize,
    /// The text, the most telling first.
    pub blocks: Vec<Block>,
}

impl Section {
    /// The whole text.
    pub(super) fn text(&self) -> String {
        self.blocks.iter().map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// The sections of a context in the order of the prompt. Parts that are missing or empty have none.
pub(super) fn sections(context: &Context, caps: Caps) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |title, file, unit, share, from: &Provenance, blocks: Vec<Block>| {
        if !blocks.is_empty() {
            sections.push(Section { title, source: source(from), file, unit, share, blocks });
        }
    };
    if let Found::Here { value: event, from } = &context.event {
        add("The error", "error.md", "frames", 30, from, error::blocks(event, caps));
    }
    if let Found::Here { value: code, from } = &context.code {
        add(
            "The code at its frames, as it is in the repository",
            "code.md",
            "excerpts",
            20,
            from,
            code::excerpts(code, caps),
        );
    }
    if let Found::Here { value: suspects, from } = &context.suspects {
        let title = "Commits that may have caused it (hypotheses, best first)";
        add(title, "suspects.md", "diffs", 16, from, code::suspects(suspects, caps));
    }
    if let Found::Here { value: trace, from } = &context.trace {
        add("The trace across services", "trace.md", "spans", 12, from, trace::blocks(trace, caps));
    }
    if let Found::Here { value: event, from } = &context.event {
        add(
            "Breadcrumbs, the latest first",
            "breadcrumbs.md",
            "breadcrumbs",
            8,
            from,
            around::breadcrumbs(event, caps),
        );
        add("The request", "request.md", "lines", 4, from, around::request(event, caps));
        add("Tags", "tags.md", "tags", 3, from, around::tags(event, caps));
        add("What else the program reported", "more.md", "lines", 2, from, around::more(event, caps));
    }
    if let Found::Here { value: issue, from } = &context.issue {
        add("The issue in the tracker", "issue.md", "lines", 4, from, around::issue(issue, caps));
    }
    sections.push(Section {
        title: "The alert, as it was delivered",
        source: "webhook or person".to_owned(),
        file: "alert.json",
        unit: "lines",
        share: 3,
        blocks: around::alert(&context.alert, caps),
    });
    sections
}

/// What could not be had, each with the reason.
pub(super) fn missing(context: &Context) -> Vec<(String, String)> {
    let gaps = context.missing().into_iter();
    gaps.map(|gap| (super::clean::one_line(&gap.part, 40), super::clean::one_line(&gap.why, 300))).collect()
}

/// Where a part came from, and who could have written it.
pub(super) fn source(from: &Provenance) -> String {
    format!("{}{}", from.source, if from.outsider_can_write { "; an outsider may have written this" } else { "" })
}

/// A line of code or the like as one line, its indentation kept.
fn line_of_code(line: &str, max: usize) -> String {
    super::clean::shorten(&super::clean::visible(line).replace('\n', " "), max)
}

/// Text of several lines under a label: later lines are marked, so that none of them passes for one of ours.
fn hanging(text: &str, max: usize) -> String {
    super::clean::shorten(super::clean::visible(text).trim(), max).replace('\n', "\n    | ")
}

/// A block that shows one unit.
fn one(text: String) -> Block {
    Block { text, units: 1 }
}
