//! Secrets from variables and files.
//!
//! Invariant: a problem names the key, never the value.

use super::*;

fn config(token: &str, webhook: &[&str]) -> Config {
    let mut config = Config::default();
    config.sentry.token = Some(token.parse().expect("a reference"));
    config.sentry.webhook_secrets = webhook.iter().map(|text| text.parse().expect("a reference")).collect();
    config
}

fn file(content: &str, mode: u32) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
    let reference = format!("file:{}", path.display());
    (folder, reference)
}

#[test]
fn they_come_from_variables_and_files_and_one_line_break_is_no_part_of_them() {
    let (_folder, reference) = file("sntrys_0123456789\n", 0o600);
    let env = [("HOOK", "0123456789abcdef0123456789abcdef")].into_iter().collect();
    let (secrets, problems) = read(&config(&reference, &["env:HOOK"]), &env);
    assert_eq!(problems, []);
    assert_eq!(secrets.sentry_token.expect("a token").value.expose_secret(), "sntrys_0123456789");
    assert_eq!(secrets.webhook[0].value.expose_secret(), "0123456789abcdef0123456789abcdef");
}

#[test]
fn the_same_webhook_secret_counts_once() {
    let env = [("A", "0123456789abcdef"), ("B", "0123456789abcdef"), ("C", "fedcba9876543210")].into_iter().collect();
    let (secrets, _) = read(&config("env:A", &["env:A", "env:B", "env:C"]), &env);
    let from: Vec<_> = secrets.webhook.iter().map(|secret| secret.from.to_string()).collect();
    assert_eq!(from, ["env:A", "env:C"]);
}

#[test]
fn every_one_that_cannot_be_had_is_reported_at_once() {
    let (folder, empty) = file("\n", 0o600);
    let missing = format!("file:{}", folder.path().join("missing").display());
    let problems = resolve(&config("env:UNSET", &[&empty, &missing]), &Environment::default()).expect_err("three");
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["sentry.token", "sentry.webhook_secrets[0]", "sentry.webhook_secrets[1]"]);
    assert!(problems.iter().all(|problem| problem.is_error() && !problem.remedy.is_empty()));
}

#[test]
fn a_secret_that_was_pasted_as_the_name_of_a_variable_is_not_repeated() {
    let problems = resolve(&config(&format!("env:{PASTED}"), &[]), &Environment::default()).expect_err("not set");
    assert!(!problems[0].to_string().contains(PASTED), "{}", problems[0]);
    for text in ["env:", "env:a-b", "env:1A", "file:", "vault:x", PASTED] {
        let error = text.parse::<SecretRef>().expect_err(text);
        assert!(!error.contains(PASTED), "{error}");
    }
}

#[test]
fn a_folder_a_huge_file_and_two_lines_are_no_secret() {
    let (folder, two_lines) = file(&format!("{PASTED}\n{PASTED}\n"), 0o600);
    let (_other, huge) = file(&"x".repeat(70_000), 0o600);
    for reference in [two_lines, huge, format!("file:{}", folder.path().display())] {
        let problems = resolve(&config(&reference, &[]), &Environment::default()).expect_err(&reference);
        assert!(!format!("{problems:?}").contains(PASTED), "{problems:?}");
    }
}

#[test]
fn a_file_that_others_can_read_and_a_short_webhook_secret_are_warned_of() {
    let (_folder, reference) = file("sntrys_0123456789", 0o644);
    let env: Environment = [("HOOK", "short")].into_iter().collect();
    let (_, problems) = read(&config(&reference, &["env:HOOK"]), &env);
    let keys: Vec<_> = problems.iter().map(|problem| (problem.key.as_str(), problem.severity)).collect();
    assert_eq!(keys, [("sentry.token", Severity::Warning), ("sentry.webhook_secrets[0]", Severity::Warning)]);
    assert!(!format!("{problems:?}").contains("short\""), "{problems:?}");
    assert!(resolve(&config(&reference, &["env:HOOK"]), &env).is_ok(), "warnings do not keep it from starting");
}
