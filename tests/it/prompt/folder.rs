//! The context folder.
//!
//! Invariant: every folder is made removable again, so that the test leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use patchwright::evidence::Found;
use patchwright::prompt::folder::{make_removable, write_context_folder};
use patchwright::redact::Redacted;

use super::contexts::{clean, full, webhook_only};

#[test]
fn the_context_folder_holds_everything_and_nobody_may_write_to_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("context");
    let extra = [("logs.md".to_owned(), Redacted::ours("the logs"))];
    let entries = write_context_folder(&dir, &clean(&full()), &extra).unwrap();

    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "alert.json",
            "breadcrumbs.md",
            "code.md",
            "error.md",
            "event.json",
            "event.raw.json",
            "issue.json",
            "issue.md",
            "logs.md",
            "more.md",
            "request.md",
            "suspects.md",
            "tags.md",
            "trace.json",
            "trace.md"
        ]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o555);
    let index = fs::read_to_string(dir.join("INDEX.md")).unwrap();
    for name in names {
        assert_eq!(mode(&dir.join(name)), 0o444, "{name}");
        assert!(index.contains(&format!("| {name} |")), "{name}");
    }
    assert!(index.contains("an outsider may have written this"));
    assert!(fs::read_to_string(dir.join("error.md")).unwrap().contains("{'name': 'SUMMER'}"));

    make_removable(&dir).unwrap();
    assert_eq!(mode(&dir), 0o755);
}

#[test]
fn the_context_folder_is_not_cut_and_says_what_is_missing() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("context");
    let mut context = webhook_only();
    if let Found::Here { value, .. } = &mut context.event {
        value.exceptions[0].frames[0].locals.push(("long".to_owned(), "x".repeat(100_000)));
    }
    write_context_folder(&dir, &clean(&context), &[]).unwrap();
    assert!(fs::read_to_string(dir.join("error.md")).unwrap().len() > 100_000);
    assert!(fs::read_to_string(dir.join("INDEX.md")).unwrap().contains("- trace: no Sentry token is configured"));
    make_removable(&dir).unwrap();
}

#[test]
fn a_folder_of_an_earlier_run_is_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("context");
    let extra = [("old.md".to_owned(), Redacted::ours("old"))];
    write_context_folder(&dir, &clean(&full()), &extra).unwrap();
    write_context_folder(&dir, &clean(&webhook_only()), &[]).unwrap();
    assert!(!dir.join("old.md").exists() && !dir.join("trace.md").exists());
    make_removable(&dir).unwrap();
}

#[test]
fn an_extra_file_cannot_leave_the_folder_or_replace_another() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["../out.md", "/etc/x", ".hidden", "INDEX.md", "event.json", "a/b", ""] {
        let dir = parent.path().join("context");
        let extra = [(name.to_owned(), Redacted::ours("x"))];
        assert!(write_context_folder(&dir, &clean(&full()), &extra).is_err(), "{name}");
    }
    assert!(!parent.path().join("out.md").exists());
}
