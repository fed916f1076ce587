//! Fits the evidence into a number of bytes.
//!
//! Invariant: the result is never longer than the budget, and whatever is left out is counted in a line that says where
//! all of it is. That line stands outside the fence: evidence cannot fake it.

use super::fence::Fence;
use super::section::Section;

/// Text that a section gets in any case, in bytes, before the shares are given out.
const LEAST: usize = 200;

/// The sections, fenced, in at most `budget` bytes; where that is too little for even the shortest form, the bytes it needs.
pub(super) fn fit(sections: &[Section], fence: &Fence, folder: &str, budget: usize) -> Result<String, usize> {
    let drafts: Vec<Draft> = sections.iter().map(|section| Draft::new(section, fence, folder)).collect();
    let least: usize = drafts.iter().map(Draft::least).sum();
    let mut spare = budget.checked_sub(least).ok_or(least)?;
    let mut grants: Vec<usize> = drafts.iter().map(Draft::least).collect();
    // First everyone gets a fair share, so that one huge stack does not push out the suspects; then the most telling
    // sections take what the others did not want.
    for fair in [true, false] {
        for (draft, grant) in drafts.iter().zip(&mut grants) {
            let goal = if fair { draft.whole().min(budget / 100 * draft.share) } else { draft.whole() };
            let more = goal.saturating_sub(*grant).min(spare);
            *grant += more;
            spare -= more;
        }
    }
    Ok(drafts.iter().zip(grants).map(|(draft, grant)| draft.within(grant)).collect())
}

/// A section, cleaned and measured.
struct Draft<'a> {
    head: String,
    foot: String,
    blocks: Vec<(String, usize)>,
    share: usize,
    unit: &'a str,
    whole_is_in: String,
}

impl<'a> Draft<'a> {
    fn new(section: &'a Section, fence: &Fence, folder: &str) -> Self {
        Self {
            head: format!("### {}\n\n{}\n", section.title, fence.open(&section.source)),
            foot: format!("{}\n", fence.close()),
            // Cleaning may change the length, so it comes before measuring.
            blocks: section.blocks.iter().map(|block| (fence.clean(&block.text), block.units)).collect(),
            share: section.share,
            unit: section.unit,
            whole_is_in: format!("{folder}/{}", section.file),
        }
    }

    /// Bytes of the section with all its blocks.
    fn whole(&self) -> usize {
        self.head.len() + self.foot.len() + 1 + self.blocks.iter().map(|(text, _)| text.len() + 1).sum::<usize>()
    }

    /// Bytes of the section in its shortest form.
    fn least(&self) -> usize {
        self.whole().min(self.head.len() + LEAST + self.foot.len() + self.longest_note() + 1)
    }

    /// Bytes of the longest line about what is left out.
    fn longest_note(&self) -> usize {
        self.note(true, self.blocks.iter().map(|(_, units)| units).sum()).len()
    }

    fn note(&self, cut: bool, units: usize) -> String {
        let what = match (cut, units) {
            (false, n) => format!("{n} more {}", self.unit),
            (true, 0) => "shortened".to_owned(),
            (true, n) => format!("shortened, and {n} more {}", self.unit),
        };
        format!("[{what} in {}]\n", self.whole_is_in)
    }

    /// The section in at most `grant` bytes, which is no less than [`Draft::least`].
    fn within(&self, grant: usize) -> String {
        let mut out = self.head.clone();
        if self.whole() <= grant {
            for (text, _) in &self.blocks {
                out.push_str(text);
                out.push('\n');
            }
            return out + &self.foot + "\n";
        }
        let mut room = grant.saturating_sub(self.head.len() + self.foot.len() + self.longest_note() + 1);
        let (mut shown, mut cut) = (0, false);
        for (text, _) in &self.blocks {
            if text.len() < room {
                out.push_str(text);
                room -= text.len() + 1;
                shown += 1;
            } else {
                // The overview that comes first is shown as far as it goes; other blocks are whole or absent.
                if shown == 0 {
                    out.push_str(text.get(..text.floor_char_boundary(room.saturating_sub(1))).unwrap_or_default());
                    cut = true;
                }
                if cut {
                    out.push('\n')
                }
                break;
            }
            out.push('\n');
        }
        let left: usize = self.blocks.iter().skip(shown).map(|(_, units)| units).sum();
        out + &self.foot + &self.note(cut || left == 0, left) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::section::Block;
    use super::*;

    fn section(title: &'static str, share: usize, blocks: Vec<String>) -> Section {
        let blocks = blocks.into_iter().map(|text| Block { text, units: 1 }).collect();
        Section { title, source: "test".to_owned(), file: "all.md", unit: "frames", share, blocks }
    }

    fn fence() -> Fence {
        Fence::new("AB12CD34EF").unwrap()
    }

    #[test]
    fn what_does_not_fit_is_counted_outside_the_fence() {
        let sections = [section("Stack", 100, (0..100).map(|n| format!("frame {n:05} {}", "x".repeat(30))).collect())];
        let text = fit(&sections, &fence(), "/ctx", 1000).unwrap();
        let shown = text.matches("frame 0").count();
        assert!(shown > 5, "{text}");
        assert!(
            text.ends_with(&format!("</untrusted-AB12CD34EF>\n[{} more frames in /ctx/all.md]\n\n", 100 - shown)),
            "{text}"
        );
    }

    #[test]
    fn a_section_that_wants_everything_leaves_the_others_their_share() {
        let huge = vec!["x".repeat(100); 1000];
        let sections = [section("First", 60, huge.clone()), section("Second", 40, huge)];
        let text = fit(&sections, &fence(), "/ctx", 10_000).unwrap();
        let second = text.find("### Second").unwrap();
        assert!((5_000..7_000).contains(&second), "{second}");
    }

    #[test]
    fn too_small_a_budget_says_what_is_needed() {
        let sections = [section("First", 60, vec!["x".repeat(1000)])];
        let needed = fit(&sections, &fence(), "/ctx", 10).unwrap_err();
        assert!(fit(&sections, &fence(), "/ctx", needed).is_ok());
    }

    proptest! {
        #[test]
        fn the_budget_is_never_exceeded(
            texts in proptest::collection::vec(proptest::collection::vec("[a-zé漢\u{200b}<>\n]{0,300}", 0..8), 1..6),
            budget in 0_usize..8_000,
        ) {
            let sections: Vec<Section> = texts.into_iter().map(|blocks| section("Any", 20, blocks)).collect();
            match fit(&sections, &fence(), "/ctx", budget) {
                Ok(text) => {
                    prop_assert!(text.len() <= budget);
                    prop_assert_eq!(text.matches("<untrusted-AB12CD34EF").count(), sections.len());
                    prop_assert_eq!(text.matches("</untrusted-AB12CD34EF>").count(), sections.len());
                }
                Err(needed) => prop_assert!(needed > budget),
            }
        }
    }
}
