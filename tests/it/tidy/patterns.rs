//! What may stand in which file.
//!
//! Invariant: a pattern is looked for in one view of the source, so that a comment or a text that speaks of a thing is
//! not taken for the thing.

use regex::Regex;

use super::files::SourceFile;
use super::verdict::Breach;

/// SQL, or the crate for it.
pub(super) fn sql(file: &SourceFile) -> Vec<Breach> {
    if file.module() == "store" {
        return Vec::new();
    }
    let statement = r"\b(?:SELECT\s[^;]*\sFROM|INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|PRAGMA|(?:CREATE|ALTER|DROP)\s+(?:TABLE|INDEX|TRIGGER|VIEW))\b";
    [matches(file, &file.views.code, r"\bsqlx\b"), in_production(file, &file.views.strings, statement)].concat()
}

/// Starting a program.
pub(super) fn spawning(file: &SourceFile) -> Vec<Breach> {
    if file.module() == "process" {
        return Vec::new();
    }
    matches(file, &file.views.code, r"\bprocess\s*::\s*Command\b|\bCommand\s*::\s*new\b")
}

/// The GitHub client crate.
pub(super) fn octocrab(file: &SourceFile) -> Vec<Breach> {
    if file.path == "src/forge/github.rs" || file.path.starts_with("src/forge/github/") {
        return Vec::new();
    }
    matches(file, &file.views.code, r"\boctocrab\b")
}

/// Reading the environment, also where a library or an attribute does it.
pub(super) fn environment(file: &SourceFile) -> Vec<Breach> {
    if file.module() == "config" {
        return Vec::new();
    }
    let reading = r"\benv\s*::\s*(?:\w*vars?(?:_os)?|temp_dir|home_dir)\b|\b(?:try_)?from_(?:default_)?env\b|#\[arg\([^\]]*\benv\b";
    in_production(file, &file.views.code, reading)
}

/// Writing to standard output or standard error.
pub(super) fn printing(file: &SourceFile) -> Vec<Breach> {
    if file.path == "src/cli/screen.rs" {
        return Vec::new();
    }
    let writing =
        r"\b(?:io\s*::\s*(?:stdout|stderr)|e?print(?:ln)?!|dbg!)|\buse\s+(?:std|tokio)::io::\{[^}]*\bstd(?:out|err)\b";
    in_production(file, &file.views.code, writing)
}

/// Asking what time it is.
pub(super) fn time(file: &SourceFile) -> Vec<Breach> {
    if file.path == "src/clock.rs" {
        return Vec::new();
    }
    matches(file, &file.views.code, r"\b(?:Utc|Local|SystemTime)\s*::\s*now\b")
}

/// Lints that are switched off without a reason.
pub(super) fn lints(file: &SourceFile) -> Vec<Breach> {
    let mut breaches = matches(file, &file.views.code, r"#!?\[[^\]]*\b(?:allow|expect)\([^\]]*\]");
    breaches.retain(|breach| !breach.what.contains("reason ="));
    breaches
}

/// What somebody wanted to finish later.
pub(super) fn unfinished(file: &SourceFile) -> Vec<Breach> {
    let mark = matches(file, &file.views.comments, r"\b(?:TODO|FIXME|XXX|HACK)\b");
    [mark, matches(file, &file.views.code, r"\b(?:todo|unimplemented)!")].concat()
}

/// A file or a module whose name says nothing.
pub(super) fn names(file: &SourceFile) -> Vec<Breach> {
    const EMPTY: &str = r"(?:utils?|helpers?|commons?|managers?|services?|types?)";
    let mut breaches = matches(file, &file.views.code, &format!(r"\bmod\s+{EMPTY}\b"));
    let path = Regex::new(&format!(r"(?:^|/){EMPTY}(?:\.rs$|/)")).unwrap();
    if path.is_match(&file.path) {
        breaches.push(file.breach(0, "the name does not say what is in it"));
    }
    breaches
}

/// `mod.rs`.
pub(super) fn mod_rs(file: &SourceFile) -> Vec<Breach> {
    let found = file.path.ends_with("/mod.rs").then(|| file.breach(0, "name the file after its module"));
    found.into_iter().collect()
}

/// More lines than one can read at a sitting.
pub(super) fn length(file: &SourceFile, most: usize) -> Vec<Breach> {
    let lines = file.text.lines().count();
    let found = (lines > most).then(|| file.breach(file.text.len(), format!("{lines} lines, {most} are allowed")));
    found.into_iter().collect()
}

/// Files with `short` lines or more, where less than half of all files are shorter.
pub(super) fn balance(files: &[SourceFile], short: usize) -> Vec<Breach> {
    let long: Vec<_> = files.iter().filter(|file| file.text.lines().count() >= short).collect();
    if long.len() * 2 <= files.len() {
        return Vec::new();
    }
    let what = |file: &SourceFile| format!("{} lines, in one of {} long files", file.text.lines().count(), long.len());
    long.iter().map(|file| file.breach(0, what(file))).collect()
}

/// A file that does not begin with a sentence that says what it is for.
pub(super) fn purpose(file: &SourceFile) -> Vec<Breach> {
    let first = file.text.lines().next().unwrap_or_default();
    let good = first.strip_prefix("//! ").is_some_and(|sentence| !sentence.trim().is_empty());
    let found = (!good).then(|| file.breach(0, "the first line is not `//!` and a sentence"));
    found.into_iter().collect()
}

/// A file whose head does not name what the file keeps true.
pub(super) fn invariant(file: &SourceFile) -> Vec<Breach> {
    let mut head = file.text.lines().take_while(|line| line.starts_with("//!"));
    let found = (!head.any(|line| line.starts_with("//! Invariant: ")))
        .then(|| file.breach(0, "the head has no line that begins with `//! Invariant: `"));
    found.into_iter().collect()
}

fn matches(file: &SourceFile, view: &str, pattern: &str) -> Vec<Breach> {
    search(file, view, pattern, |_| true)
}

/// As [`matches`], but not in code for tests: a test may hold SQL as data, look at its own environment and print.
fn in_production(file: &SourceFile, view: &str, pattern: &str) -> Vec<Breach> {
    search(file, view, pattern, |at| !file.in_tests(at))
}

fn search(file: &SourceFile, view: &str, pattern: &str, counts: impl Fn(usize) -> bool) -> Vec<Breach> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.find_iter(view).filter(|found| counts(found.start()));
    found.map(|found| file.breach(found.start(), format!("`{}`", &file.text[found.range()]))).collect()
}

/// Checks that the pattern is found in each of `bad`, and in none of `good`.
fn told_apart(check: impl Fn(&SourceFile) -> Vec<Breach>, bad: &[(&str, &str)], good: &[(&str, &str)]) {
    for (path, text) in bad {
        assert_eq!(check(&SourceFile::new(*path, *text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in good {
        assert_eq!(check(&SourceFile::new(*path, *text)), [], "{path}: {text}");
    }
}

#[test]
fn sql_is_found_outside_the_store_and_nowhere_else() {
    let bad = [
        ("src/job.rs", "use sqlx::Row;"),
        ("src/job.rs", "f(\"SELECT a\n FROM b\")"),
        ("src/job.rs", "f(r#\"INSERT OR IGNORE INTO a\"#)"),
        ("src/job.rs", "f(\"PRAGMA journal_mode\")"),
    ];
    let good = [
        ("src/store/sqlite.rs", "use sqlx::Row;"),
        ("src/job.rs", "// SELECT a FROM b, by sqlx\nf(\"select one from the list\")"),
        ("src/job.rs", "#[cfg(test)]\nmod tests { const A: &str = \"DELETE FROM a\"; }"),
    ];
    told_apart(sql, &bad, &good);
}

#[test]
fn starting_a_program_is_found_outside_process() {
    let bad = [("src/git.rs", "Command::new(a)"), ("src/git.rs", "use tokio::process::Command;")];
    let good = [("src/process/tool.rs", "Command::new(a)"), ("src/git.rs", "// Command::new\nprocess::run()")];
    told_apart(spawning, &bad, &good);
}

#[test]
fn octocrab_is_found_outside_its_own_files() {
    let bad = [("src/forge.rs", "octocrab::Octocrab"), ("src/forge/githubby.rs", "use octocrab;")];
    let good = [("src/forge/github/client.rs", "use octocrab;"), ("src/forge.rs", "// octocrab\nf(\"octocrab\")")];
    told_apart(octocrab, &bad, &good);
}

#[test]
fn reading_the_environment_is_found_outside_config() {
    let bad = [
        ("src/git.rs", "std::env::var(a)"),
        ("src/git.rs", "env::vars_os()"),
        ("src/git.rs", "env::set_var(a, b)"),
        ("src/git.rs", "std::env::temp_dir()"),
        ("src/cli.rs", "#[arg(long, env = \"A\")]"),
        ("src/telemetry.rs", "EnvFilter::try_from_default_env()"),
    ];
    let good = [
        ("src/config/environment.rs", "std::env::vars_os()"),
        ("src/git.rs", "std::env::args_os(); std::env::current_exe(); env!(\"A\"); command.env(a, b)"),
        ("src/git.rs", "#[cfg(test)]\nmod tests { fn a() { std::env::var(a); } }"),
    ];
    told_apart(environment, &bad, &good);
}

#[test]
fn printing_is_found_outside_the_screen() {
    let bad = [
        ("src/cli/jobs.rs", "println!(\"a\")"),
        ("src/cli/jobs.rs", "eprint!(\"a\")"),
        ("src/cli/jobs.rs", "std::io::stdout()"),
        ("src/cli/jobs.rs", "use std::io::{self, stderr};"),
    ];
    let good = [("src/cli/screen.rs", "io::stdout()"), ("src/git.rs", "command.stdout(a); output.stderr; writeln!(a)")];
    told_apart(printing, &bad, &good);
}

#[test]
fn asking_for_the_time_is_found_outside_the_clock() {
    let bad = [("src/job.rs", "Utc::now()"), ("src/job.rs", "std::time::SystemTime::now()")];
    let good = [("src/clock.rs", "Utc::now()"), ("src/job.rs", "clock::now(); Instant::now()")];
    told_apart(time, &bad, &good);
}

#[test]
fn a_lint_is_switched_off_with_a_reason_only() {
    let bad = [
        ("src/job.rs", "#[allow(dead_code)]"),
        ("src/job.rs", "#![allow(dead_code)]"),
        ("src/job.rs", "#[cfg_attr(test, allow(dead_code))]"),
        ("src/job.rs", "#[expect(\n    dead_code\n)]"),
    ];
    let good = [("src/job.rs", "#[expect(dead_code, reason = \"a\")]"), ("src/job.rs", "a.expect(b); // #[allow(a)]")];
    told_apart(lints, &bad, &good);
}

#[test]
fn unfinished_work_is_found_in_comments_and_code() {
    let bad = [
        ("src/job.rs", "// TODO: a"),
        ("src/job.rs", "/* FIXME */"),
        ("src/job.rs", "fn a() { todo!() }"),
        ("src/job.rs", "#[cfg(test)]\nmod tests {\n    // TODO: a\n}"),
    ];
    let good = [("src/job.rs", "f(\"TODO\"); let todo = 1;")];
    told_apart(unfinished, &bad, &good);
}

#[test]
fn names_that_say_nothing_are_found_as_files_folders_and_modules() {
    let bad = [("src/utils.rs", ""), ("src/git/helpers/a.rs", ""), ("src/git.rs", "mod common {}")];
    let good = [("src/git/service_account.rs", "let types = 1; mod types_of_wood;")];
    told_apart(names, &bad, &good);
    told_apart(mod_rs, &[("src/git/mod.rs", "")], &[("src/git/remod.rs", "")]);
}

#[test]
fn long_files_are_found() {
    told_apart(|file| length(file, 2), &[("src/a.rs", "1\n2\n3\n")], &[("src/a.rs", "1\n2\n")]);
    let files = ["1\n", "1\n2\n", "1\n2\n3\n"].map(|text| SourceFile::new("src/a.rs", text));
    assert_eq!((balance(&files, 2).len(), balance(&files[..2], 2).len()), (2, 0));
}

#[test]
fn a_head_has_a_purpose_and_an_invariant() {
    let good = ("src/a.rs", "//! Purpose.\n//!\n//! Invariant: a.\nuse b;");
    told_apart(purpose, &[("src/a.rs", "use b;"), ("src/a.rs", "//!\n//! A."), ("src/a.rs", "\n//! A.")], &[good]);
    told_apart(invariant, &[("src/a.rs", "//! Purpose.\nuse b;\n//! Invariant: a.")], &[good]);
}
