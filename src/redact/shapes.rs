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
const SHAPES: &[(&str, &str, &str)] = &[
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
    ("google-secret", "GOCSPX-", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    ("age-key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    ("airtable-token", "pat", r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b"),
    ("atlassian-token", "ATATT3", r"\bATATT3[A-Za-z0-9_=-]{50,}"),
    ("atlassian-token", "ATBB", r"\bATBB[A-Za-z0-9]{24,}"),
    ("azure-secret", "Q~", r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    ("brevo-key", "xkeysib-", r"\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    ("buildkite-token", "bk", r"\bbk(?:ua|at|ct)_[a-f0-9]{40}"),
    ("cargo-token", "cio", r"\bcio[A-Za-z0-9]{32}\b"),
    ("databricks-token", "dapi", r"\bdapi[a-f0-9]{32}(?:-[0-9])?\b"),
    ("digitalocean-token", "_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}"),
    (
        "discord-webhook",
        "/api/webhooks/",
        r"(?P<keep>discord(?:app)?\.com/api/webhooks/)[0-9]{15,22}/[A-Za-z0-9_-]{40,}",
    ),
    ("docker-token", "dckr_", r"\bdckr_[a-z]{3}_[A-Za-z0-9_-]{20,}"),
    ("doppler-token", "dp.", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{20,}[A-Za-z0-9]"),
    ("facebook-token", "EAA", r"\bEAA[A-Z][A-Za-z0-9_-]{60,}"),
    ("figma-token", "figd_", r"\bfigd_[A-Za-z0-9_-]{38,}"),
    ("grafana-token", "glsa_", r"\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}"),
    ("grafana-token", "glc_", r"\bglc_[A-Za-z0-9+/=]{32,}"),
    ("heroku-key", "HRKU-", r"\bHRKU-[A-Za-z0-9_-]{36,}"),
    ("linear-key", "lin_", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    ("mailchimp-key", "-us", r"\b[a-f0-9]{32}-us[0-9]{1,2}\b"),
    ("mailgun-key", "key-", r"\bkey-[a-f0-9]{32}\b"),
    ("model-key", "gsk_", r"\bgsk_[A-Za-z0-9]{48,}"),
    ("model-key", "pplx-", r"\bpplx-[A-Za-z0-9]{40,}"),
    ("model-key", "r8_", r"\br8_[A-Za-z0-9]{37}"),
    ("model-key", "xai-", r"\bxai-[A-Za-z0-9]{70,}"),
    ("netlify-token", "nfp_", r"\bnfp_[A-Za-z0-9]{36,}"),
    ("new-relic-key", "NR", r"\bNR(?:AK|JS|II)-[A-Za-z0-9_-]{19,}"),
    ("notion-token", "ntn_", r"\bntn_[A-Za-z0-9]{40,}"),
    ("planetscale-token", "pscale_", r"\bpscale_[a-z]{2,5}_[A-Za-z0-9=._-]{32,}"),
    ("postman-key", "PMAK-", r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    ("pulumi-token", "pul-", r"\bpul-[a-f0-9]{40}"),
    ("rubygems-key", "rubygems_", r"\brubygems_[a-f0-9]{48}"),
    ("sendgrid-key", "SG.", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),
    ("shopify-token", "shp", r"\bshp(?:at|ss|ca|pa)_[A-Fa-f0-9]{32}"),
    ("square-token", "sq0", r"\bsq0[a-z]{3}-[A-Za-z0-9_-]{22,}"),
    ("supabase-key", "sbp_", r"\bsbp_[a-f0-9]{40}"),
    ("tailscale-key", "tskey-", r"\btskey-[a-z]+-[A-Za-z0-9_-]{16,}"),
    ("teams-webhook", "webhook.office.com", r"(?P<keep>webhook\.office\.com/)webhookb2/[A-Za-z0-9/@_-]{20,}"),
    ("telegram-token", ":AA", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    ("terraform-token", ".atlasv1.", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),
    ("twilio-key", "SK", r"\bSK[a-f0-9]{32}\b"),
    ("vault-token", "hv", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    ("jwt", "eyJ", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"),
    // A digit or a capital inside tells a credential from prose such as "basic authentication".
    ("authorization", " ", r"(?P<keep>\b(?i:bearer|basic)\s{1,8})[A-Za-z0-9._~+/-]+[A-Z0-9][A-Za-z0-9._~+/=-]*"),
    ("url-password", "://", r#"(?P<keep>://[^\s/:@"'<>]*:)[^\s/"'<>]+(?P<rest>@)"#),
];

static COMPILED: LazyLock<(AhoCorasick, Vec<Shape>)> = LazyLock::new(compile);

#[expect(clippy::expect_used, reason = "constants; every test in this file compiles them")]
fn compile() -> (AhoCorasick, Vec<Shape>) {
    let literals = AhoCorasick::new(SHAPES.iter().map(|(_, literal, _)| literal)).expect("literals");
    let shape = |&(kind, _, pattern): &(_, _, &str)| Shape { kind, pattern: Regex::new(pattern).expect("pattern") };
    (literals, SHAPES.iter().map(shape).collect())
}

/// How a private key begins and ends, in any of its formats.
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const KEY: &str = "PRIVATE KEY";

/// Puts a marker in the place of every line of a private key that goes over several lines, whose own lines look like
/// nothing. For text that is kept line by line, such as an excerpt of code; it may begin or end in the middle of the key.
pub fn hide_private_keys(lines: &mut [&mut String]) {
    let mut inside = false;
    for at in 0..lines.len() {
        let Some(line) = lines.get(at) else { break };
        let begins = line.find(BEGIN).filter(|from| line.get(*from..).is_some_and(|rest| rest.contains(KEY)));
        let ends = line.rfind(END).filter(|from| line.get(*from..).is_some_and(|rest| rest.contains(KEY)));
        let body = at - lines.iter().take(at).rev().take_while(|line| is_key_material(line)).count();
        let hidden = match (inside, begins, ends) {
            // All of it on one line, which the pattern finds.
            (false, Some(begin), Some(end)) if begin < end => continue,
            (false, None, None) => continue,
            // It began before the first line.
            (false, None, Some(_)) => body..at + 1,
            _ => at..at + 1,
        };
        inside = begins.is_some_and(|begin| ends.is_none_or(|end| end < begin)) || (inside && ends.is_none());
        for line in lines.get_mut(hidden).into_iter().flatten() {
            **line = marker("private-key");
        }
    }
}

/// Whether a line may be one of a key's body, with what code and diffs put around it.
fn is_key_material(line: &str) -> bool {
    let body = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '+' | '-' | '"' | '\'' | ',' | '\\' | '#'));
    let body = body.strip_suffix("\\n").unwrap_or(body);
    body.len() >= 16 && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
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
            ("sendgrid-key", format!("{}.{}", token("SG.", 22), token("", 43))),
            ("digitalocean-token", format!("dop_v1_{}", "0a1b2c3d".repeat(8))),
            ("shopify-token", format!("shpss_{}", "0a1b2c3d".repeat(4))),
            ("vault-token", token("hvs.", 90)),
            ("telegram-token", format!("123456789:AA{}", token("", 33))),
            ("twilio-key", format!("SK{}", "0a1b2c3d".repeat(4))),
            ("linear-key", token("lin_api_", 40)),
            ("databricks-token", format!("dapi{}", "0a1b2c3d".repeat(4))),
            ("doppler-token", token("dp.st.prd.", 40)),
            ("azure-secret", token("abc8Q~", 34)),
            ("mailchimp-key", format!("{}-us14", "0a1b2c3d".repeat(4))),
            ("mailgun-key", format!("key-{}", "0a1b2c3d".repeat(4))),
            ("docker-token", token("dckr_pat_", 27)),
            ("atlassian-token", token("ATATT3", 180)),
            ("grafana-token", format!("{}_0a1b2c3d", token("glsa_", 32))),
            ("new-relic-key", token("NRAK-", 27)),
            ("terraform-token", format!("{}.atlasv1.{}", token("", 14), token("", 67))),
            ("model-key", token("gsk_", 52)),
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
    fn every_line_of_a_private_key_goes_even_where_the_text_begins_or_ends_in_it() {
        let begin = format!("KEY = `-----BEGIN RSA {KEY}-----");
        let end = format!("-----END RSA {KEY}-----`");
        let body = "MIIEpAIBAAKCAQEAaB3dE5gH";
        let hide = |lines: &[&str]| {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            hide_private_keys(&mut lines.iter_mut().collect::<Vec<_>>());
            lines
                .iter()
                .map(|line| if line == "[redacted:private-key]" { "*" } else { line }.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(hide(&["a", &begin, body, body, &end, "b"]), ["a", "*", "*", "*", "*", "b"]);
        assert_eq!(hide(&["a", &begin, "Proc-Type: 4", body]), ["a", "*", "*", "*"]);
        assert_eq!(hide(&["a = total(b)", body, body, &end, "b"]), ["a = total(b)", "*", "*", "*", "b"]);
        let whole = format!("{begin}{body}{end}");
        assert_eq!(hide(&[&whole, "b"]), [whole.as_str(), "b"]);
    }

    #[test]
    fn the_scheme_and_the_user_stay_and_the_credential_goes() {
        let cases = [
            (
                "https://discord.com/api/webhooks/112233445566778899/aB3dE5gHaB3dE5gHaB3dE5gHaB3dE5gHaB3dE5gH",
                "https://discord.com/api/webhooks/[redacted:discord-webhook]",
            ),
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
                     mediump highp_float, eyJustice, SGML. SKU, dapi, a-us1, hv.b, sha256:AA01, paths.abcdef, http://localhost:8080/a@b, 0123456789abcdef0123456789abcdef01234567";
        assert_eq!(replace(clean), clean);
    }
}
