//! The known word that was probably meant by an unknown one.
//!
//! Invariant: nothing is offered rather than something far-fetched.

/// How alike two words must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.84;

/// The word among `known` that `word` was probably meant to be.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let scored = known.into_iter().map(|candidate| (likeness(word, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

/// Likeness of spelling; a word that is a whole part of the other (`secrets` of `webhook_secrets`) is just alike enough.
fn likeness(word: &str, candidate: &str) -> f64 {
    let (word, candidate) = (word.to_lowercase(), candidate.to_lowercase());
    let part = |short: &str, long: &str| short.len() >= 4 && long.split(['_', '.', '-']).any(|part| part == short);
    let spelling = strsim::jaro_winkler(&word, &candidate);
    if part(&word, &candidate) || part(&candidate, &word) { spelling.max(ALIKE) } else { spelling }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_keyboard_are_seen_through() {
        assert_eq!(nearest("workr", ["server", "store", "worker"]), Some("worker"));
        assert_eq!(nearest("prompt_fle", ["workspace", "prompt_file", "result_file"]), Some("prompt_file"));
        assert_eq!(nearest("Secrets", ["url", "webhook_secrets"]), Some("webhook_secrets"));
    }

    #[test]
    fn unrelated_words_are_not_offered() {
        assert_eq!(nearest("colour", ["server", "store", "worker"]), None);
        assert_eq!(nearest("url", ["org", "token"]), None);
        assert_eq!(nearest("anything", []), None);
    }
}
