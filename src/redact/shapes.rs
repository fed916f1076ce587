//! Finds tokens by the shapes that their makers publish.
//!
//! Invariant: every pattern matches in linear time and leaves a marker that no pattern matches again.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::marker;

/// One kind of token.
struct Shape {
    kind: &'static str,
    pattern: Regex,
}

/// Kind, a literal that every match contains, and the pattern. A group `keep` stays in the text.
///
/// The literals are looked for together in one pass; a pattern runs only where its literal is there, which most are not.
const SHAPES: [(&str, &str, &str); 23] = [
    // Cut off without an end, it goes to the end of the text.
    (
        "private-key",
        "PRIVATE KEY",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)",
    ),
    ("github-token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("github-token", "gh", r"gh[pour]_[A-Za-z0-9]{36,}"),
    // Installation tokens of 2026 carry their claims: longer, with dots and dashes.
    ("github-token", "ghs_", r"ghs_[A-Za-z0-9._-]{35,}[A-Za-z0-9_-]"),
    ("gitlab-token", "gl", r"\bgl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat)-[A-Za-z0-9_.-]{19,}[A-Za-z0-9_-]"),
    ("sentry-token", "sntry", r"sntry[a-z]_[A-Za-z0-9+/=_-]{20,}"),
    ("aws-key-id", "AKIA", r"\bAKIA[A-Z0-9]{16}\b"),
    ("aws-key-id", "ASIA", r"\bASIA[A-Z0-9]{16}\b"),
    ("slack-token", "xox", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"),
    ("slack-token", "xapp-", r"xapp-[0-9]-[A-Za-z0-9-]{10,}"),
    (
        "slack-webhook",
        "hooks.slack.com",
        r"(?P<keep>hooks\.slack\.com/)(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}",
    ),
    ("stripe-key", "k_live_", r"[sr]k_live_[A-Za-z0-9]{16,}"),
    ("stripe-key", "k_test_", r"[sr]k_test_[A-Za-z0-9]{16,}"),
    ("webhook-secret", "whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    ("model-key", "sk-", r"\bsk-(?:(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,})"),
    ("google-key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
    ("google-key", "ya29.", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    ("npm-token", "npm_", r"\bnpm_[A-Za-z0-9]{36,}"),
    ("pypi-token", "pypi-", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("huggingface-token", "hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    ("jwt", "eyJ", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"),
    // A digit or a capital inside tells a credential from prose such as "basic authentication".
    ("authorization", " ", r"(?P<keep>\b(?i:bearer|basic)\s{1,8})[A-Za-z0-9._~+/-]+[A-Z0-9][A-Za-z0-9._~+/=-]*"),
    ("url-password", "://", r#"(?P<keep>://[^\s/:@"'<>]*:)[^\s/"'<>]+(?P<rest>@)"#),
];

static COMPILED: LazyLock<(AhoCorasick, Vec<Shape>)> = LazyLock::new(compile);

#[expect(clippy::expect_used, reason = "constants; every test in this file compiles them")]
fn compile() -> (AhoCorasick, Vec<Shape>) {
    let literals = AhoCorasick::new(SHAPES.map(|(_, literal, _)| literal)).expect("literals");
    let shape = |(kind, _, pattern)| Shape { kind, pattern: Regex::new(pattern).expect("pattern") };
    (literals, SHAPES.map(shape).into())
}

/// The text with a marker for each token.
pub(super) fn replace(text: &str) -> String {
    let (literals, shapes) = &*COMPILED;
    let mut present = [false; SHAPES.len()];
    for found in literals.find_overlapping_iter(text) {
        if let Some(seen) = present.get_mut(found.pattern().as_usize()) {
            *seen = true;
        }
    }
    let mut text = Cow::Borrowed(text);
    for (shape, _) in shapes.iter().zip(present).filter(|(_, present)| *present) {
        if let Cow::Owned(clean) = shape.pattern.replace_all(&text, |found: &Captures<'_>| shape.replacement(found)) {
            text = Cow::Owned(clean);
        }
    }
    text.into_owned()
}

impl Shape {
    fn replacement(&self, found: &Captures<'_>) -> String {
        let group = |name| found.name(name).map_or("", |part| part.as_str());
        format!("{}{}{}", group("keep"), marker(self.kind), group("rest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assembled at run time, so that no scanner takes this file for a leak.
    fn token(prefix: &str, length: usize) -> String {
        prefix.chars().chain("aB3dE5gH".chars().cycle().take(length)).collect()
    }

    #[test]
    fn every_published_shape_is_found_in_the_middle_of_a_sentence() {
        let tokens = [
            ("github-token", token("ghp_", 36)),
            ("github-token", token("gho_", 36)),
            ("github-token", format!("{}.{}-{}_x", token("ghs_", 36), token("", 90), token("", 40))),
            ("github-token", token("github_pat_", 70)),
            ("gitlab-token", token("glpat-", 20)),
            ("sentry-token", token("sntrys_", 60)),
            ("sentry-token", token("sntryu_", 64)),
            ("aws-key-id", format!("AKIA{}", "A1B2C3D4E5F6G7H8")),
            ("slack-token", token("xoxb-", 30)),
            ("stripe-key", token("sk_live_", 24)),
            ("model-key", token("sk-ant-api03-", 60)),
            ("model-key", token("sk-", 48)),
            ("google-key", token("AIza", 35)),
            ("npm-token", token("npm_", 36)),
            ("pypi-token", token("pypi-", 80)),
            ("jwt", format!("{}.{}.{}", token("eyJ", 20), token("eyJ", 30), token("", 43))),
        ];
        for (kind, token) in tokens {
            assert_eq!(replace(&format!("got {token}, then")), format!("got [redacted:{kind}], then"), "{token}");
        }
    }

    #[test]
    fn a_private_key_goes_to_its_end_or_to_the_end_of_the_text() {
        let begin = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
        let end = format!("-----END RSA {} KEY-----", "PRIVATE");
        assert_eq!(replace(&format!("a {begin}\nMIIE\n{end} b")), "a [redacted:private-key] b");
        assert_eq!(replace(&format!("a {begin}\\nMIIE")), "a [redacted:private-key]");
    }

    #[test]
    fn the_scheme_and_the_user_stay_and_the_credential_goes() {
        let cases = [
            ("Bearer abc123def456", "Bearer [redacted:authorization]"),
            ("basic dXNlcjpwYXNz", "basic [redacted:authorization]"),
            ("postgres://app:s3cr@t@db:5432/x", "postgres://app:[redacted:url-password]@db:5432/x"),
        ];
        for (dirty, clean) in cases {
            assert_eq!(replace(dirty), clean);
        }
    }

    #[test]
    fn prose_code_and_public_addresses_are_left_alone() {
        let clean = "basic authentication, Bearer Authentication, scikit sk-learn, task-1234, https://key@o1.ingest.example/1, \
                     mediump highp_float, eyJustice, http://localhost:8080/a@b, 0123456789abcdef0123456789abcdef01234567";
        assert_eq!(replace(clean), clean);
    }
}
