//! The house rules, checked on the source itself.
//!
//! Invariant: each rule is one test, says why it is there, and has tests of its own that show how it is broken.

mod documents;
mod files;
mod layers;
mod lexer;
mod patterns;
mod verdict;

use files::{SourceFile, tree};
use verdict::{Breach, Exception, Rule};

/// Lines that a file may have.
const LONGEST: usize = 600;

/// Lines that half of the files stay under.
const SHORT: usize = 150;

fn everywhere(check: impl Fn(&SourceFile) -> Vec<Breach>) -> Vec<Breach> {
    tree("src").iter().chain(&tree("tests")).flat_map(check).collect()
}

fn in_src(check: impl Fn(&SourceFile) -> Vec<Breach>) -> Vec<Breach> {
    tree("src").iter().flat_map(check).collect()
}

#[test]
fn every_module_has_a_layer() {
    Rule::new("every module at the top of the crate is in one layer", "who knows its layer knows what it may import")
        .hold(layers::unplaced(&tree("src")));
}

#[test]
fn a_module_imports_only_from_its_own_layer_and_from_below() {
    Rule::new(
        "a module imports only from its own layer and from below (ARCHITECTURE.md)",
        "whoever reads a layer needs to know only what is below it",
    )
    .hold(in_src(layers::upward));
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let rule = Rule {
        says: "modules do not import each other in a circle",
        why: "modules in a circle can only be understood, tested and moved together",
        exceptions: &[
            Exception {
                file: "src/job.rs",
                count: 1,
                reason: "a job ends in an outcome, and an outcome names the job; both are plain data",
            },
            Exception { file: "src/outcome.rs", count: 1, reason: "the other half of the circle with `job`" },
        ],
    };
    rule.hold(layers::circular(&tree("src")));
}

#[test]
fn no_file_is_longer_than_600_lines() {
    Rule::new("no file is longer than 600 lines", "a file should be read at one sitting")
        .hold(everywhere(|file| patterns::length(file, LONGEST)));
}

#[test]
fn half_of_the_files_have_fewer_than_150_lines() {
    Rule::new("half of the files have fewer than 150 lines", "small files have one purpose")
        .hold(patterns::balance(&tree("src"), SHORT));
}

#[test]
fn every_file_begins_with_its_purpose() {
    Rule::new("every file begins with `//!` and a sentence", "a reader decides by it whether to read on")
        .hold(everywhere(patterns::purpose));
}

#[test]
fn every_source_file_names_its_invariant() {
    Rule::new("the head of a source file says what the file keeps true", "it is what a change must not break")
        .hold(in_src(patterns::invariant));
}

#[test]
fn only_the_store_holds_sql() {
    Rule::new("only src/store/ holds SQL", "another database must be one more file, not a search through all of them")
        .hold(in_src(patterns::sql));
}

#[test]
fn only_process_starts_programs() {
    Rule::new(
        "only src/process/ starts programs",
        "limits, a clean environment and the end of the whole tree are not to be forgotten anywhere",
    )
    .hold(in_src(patterns::spawning));
}

#[test]
fn only_the_github_forge_names_octocrab() {
    Rule::new("only src/forge/github* names octocrab", "the crate's types must not become ours")
        .hold(in_src(patterns::octocrab));
}

#[test]
fn only_config_reads_the_environment() {
    Rule::new("only src/config/ reads the environment", "what a setting does must not depend on who asks, or when")
        .hold(in_src(patterns::environment));
}

#[test]
fn only_the_screen_writes_to_standard_output_and_error() {
    let rule = Rule {
        says: "only src/cli/screen.rs writes to standard output and standard error",
        why: "what outsiders wrote must be made visible before it reaches a terminal",
        exceptions: &[
            Exception {
                file: "src/telemetry.rs",
                count: 2,
                reason: "the log goes to standard error, in colours if that is a terminal",
            },
            Exception {
                file: "src/process/supervise.rs",
                count: 2,
                reason: "the supervisor hands its own pipes on to the program and writes nothing to them",
            },
        ],
    };
    rule.hold(in_src(patterns::printing));
}

#[test]
fn only_the_clock_asks_for_the_time() {
    Rule::new("only src/clock.rs asks what time it is", "stored times all have one zone and one precision")
        .hold(in_src(patterns::time));
}

#[test]
fn no_lint_is_switched_off_without_a_reason() {
    Rule::new("`allow` and `expect` of a lint have a `reason`", "the next reader cannot ask whether it still holds")
        .hold(everywhere(patterns::lints));
}

#[test]
fn nothing_is_left_for_later() {
    Rule::new("no marks of unfinished work", "what is not done belongs into an issue; what is merged is done")
        .hold(everywhere(patterns::unfinished));
}

#[test]
fn no_file_is_called_mod_rs() {
    Rule::new("`foo.rs` and `foo/part.rs`, no `mod.rs`", "a row of tabs that are all called mod.rs helps nobody")
        .hold(everywhere(patterns::mod_rs));
}

#[test]
fn every_module_has_a_name_that_says_something() {
    let rule = Rule {
        says: "no module is called utils, helpers, common, manager, service or types",
        why: "everything fits such a name, so everything ends up there",
        exceptions: &[],
    };
    rule.hold(everywhere(patterns::names));
}

#[test]
fn the_program_itself_is_only_a_door() {
    let main = tree("src").into_iter().filter(|file| file.path == "src/main.rs");
    Rule::new("src/main.rs has at most 50 lines", "tests can call the library, not the program")
        .hold(main.flat_map(|file| patterns::length(&file, 50)).collect());
}
