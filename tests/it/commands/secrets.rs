//! Secrets that were put where none belongs, seen from outside.
//!
//! Invariant: whatever the command, they are in none of its words and in no name of a file that it makes.

use std::path::Path;

use super::{seen, with_payload};
use crate::program::{Described, FIXER};

const PASSWORD: &str = "hunter2";

/// The names of everything below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn the_password_of_another_database_is_neither_shown_nor_part_of_a_files_name() {
    let commands: [&[&str]; 8] = [
        &["jobs", "list"],
        &["jobs", "show", "1"],
        &["jobs", "cancel", "1"],
        &["jobs", "retry", "1"],
        &["doctor", "--offline"],
        &["prompt", "alert.json"],
        &["run", "alert.json"],
        &["serve"],
    ];
    for url in [
        "postgres://app:hunter2@db/app",
        "postgresql://app:hunter2@db/app",
        "sqlite://app:hunter2@x/y.db",
        "sqlite:app:hunter2@x/y.db",
        "sqlite:x.db?key=hunter2",
    ] {
        let service = with_payload(Described::with_agent(FIXER).environment("DATABASE_URL", url)).await;
        for command in commands {
            let (code, out, error) = seen(&service.run(command).await);
            assert!(code != 0 && format!("{out}{error}").contains("set by DATABASE_URL"), "{command:?}: {out}{error}");
            assert!(!format!("{out}{error}").contains(PASSWORD), "{command:?}: {out}{error}");
        }
        let names = names(service.folder());
        assert!(!names.iter().any(|name| name.contains(PASSWORD)), "{names:?}");
    }
}

#[tokio::test]
async fn a_secret_among_an_agents_variables_is_taken_out_of_what_it_prints() {
    let agent = format!("echo said $SERVICE_AUTH_1\n{FIXER}");
    let described = Described::with_agent(&agent).agent_keys("env = { SERVICE_AUTH_1 = \"correct-horse-battery\" }");
    let service = with_payload(described).await;
    let (code, out, error) = seen(&service.run(&["run", "alert.json"]).await);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("│ said [redacted:secret]") && !out.contains("correct-horse"), "{out}");
}
