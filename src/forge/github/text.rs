//! Makes titles and bodies fit what GitHub takes.
//!
//! Invariant: what is cut says so, and the cut leaves no Markdown block open that would swallow the notice.

/// Most characters of a title (`title is too long (maximum is 256 characters)`, 422 of `POST /pulls`).
const TITLE: usize = 256;
/// Most characters of a body (`body is too long (maximum is 65536 characters)`, 422 of `POST /pulls`).
const BODY: usize = 65_536;
/// Room kept for what closes open blocks and for the notice.
const ROOM: usize = 1_024;
/// Longest code fence that we close as it was opened; a longer one is cut before.
const FENCE: usize = 64;
const NOTICE: &str = "*This text was cut here: GitHub takes no more than 65,536 characters.*\n";

/// A title on one line that GitHub takes.
pub(super) fn title(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TITLE {
        return line;
    }
    let mut cut: String = line.chars().take(TITLE - 1).collect();
    cut.push('…');
    cut
}

/// A body that GitHub takes.
pub(super) fn body(text: &str) -> String {
    if text.chars().count() <= BODY {
        return text.to_owned();
    }
    let end = text.char_indices().nth(BODY - ROOM).map_or(text.len(), |(at, _)| at);
    let (head, _) = text.split_at(end);
    // At a line break where one is near, so that no table row or word is halved.
    let head = match head.rfind('\n') {
        Some(at) if head.len() - at < ROOM => head.split_at(at).0,
        _ => head,
    };
    let open = open_blocks(head);
    let mut cut = head.to_owned();
    match open.fence {
        Some(fence) if fence.run.len() > FENCE => cut.truncate(fence.begins),
        Some(fence) => {
            cut.push('\n');
            cut.push_str(fence.run);
        }
        None => {}
    }
    cut.push('\n');
    cut.push_str(&"</details>\n".repeat(open.details.min(ROOM / 32)));
    cut.push('\n');
    cut.push_str(NOTICE);
    cut
}

/// The blocks that are open at the end of a text.
struct Open<'a> {
    fence: Option<Fence<'a>>,
    details: usize,
}

/// A code fence: where its first line begins, and the run of characters that opened it.
struct Fence<'a> {
    begins: usize,
    run: &'a str,
}

/// Follows fences as CommonMark §4.5 does, and `<details>` outside of them.
fn open_blocks(text: &str) -> Open<'_> {
    let mut open = Open { fence: None, details: 0 };
    let mut begins = 0;
    for line in text.split_inclusive('\n') {
        match (&open.fence, fence_marker(line)) {
            (Some(fence), Some((run, rest))) if run.starts_with(fence.run) && rest.trim().is_empty() => {
                open.fence = None;
            }
            (Some(_), _) => {}
            (None, Some((run, rest))) if !(run.starts_with('`') && rest.contains('`')) => {
                open.fence = Some(Fence { begins, run });
            }
            (None, _) => {
                open.details += line.matches("<details").count();
                open.details = open.details.saturating_sub(line.matches("</details>").count());
            }
        }
        begins += line.len();
    }
    open
}

/// The run of backticks or tildes that begins a fence on this line, and what stands after it.
fn fence_marker(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start_matches(' ');
    if line.len() - text.len() > 3 {
        return None;
    }
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = text.trim_start_matches(mark);
    let (run, rest) = text.split_at(text.len() - rest.len());
    (run.len() >= 3).then_some((run, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        let exact = "ü".repeat(BODY);
        assert_eq!(body(&exact), exact);
        assert_eq!(title(&"ü".repeat(TITLE)), "ü".repeat(TITLE));
    }

    #[test]
    fn a_title_becomes_one_line_and_says_when_it_was_cut() {
        assert_eq!(title("Fix\r\nthe  \tbug\u{2028}now"), "Fix the bug now");
        let long = title(&"x".repeat(TITLE + 1));
        assert_eq!(long.chars().count(), TITLE);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_cut_body_closes_its_fence_and_its_details_before_the_notice() {
        let text = format!("<details>\n\n````text\n```\n{}", "a line of output\n".repeat(5_000));
        let cut = body(&text);
        assert!(cut.ends_with(&format!("a line of output\n````\n</details>\n\n{NOTICE}")), "{}", cut.len());
    }

    #[test]
    fn a_closed_fence_is_not_closed_again() {
        let text = format!("~~~sh\nls\n~~~\n{}", "word ".repeat(20_000));
        let cut = body(&text);
        assert_eq!(cut.matches("~~~").count(), 2);
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_fits_and_no_block_stays_open(
            parts in prop::collection::vec("(```[a-z`]{0,3}|~~~~|`{70}|<details>|</details>|[a-zäö✓ ]{0,40})\n", 1..40),
            times in 1_usize..4_000,
        ) {
            let text = parts.concat().repeat(times);
            let cut = body(&text);
            prop_assert!(cut.chars().count() <= BODY);
            if text.chars().count() > BODY {
                prop_assert!(open_blocks(&cut).fence.is_none());
                prop_assert!(cut.ends_with(NOTICE));
            }
        }
    }
}
