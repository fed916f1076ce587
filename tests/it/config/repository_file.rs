//! `.patchwright.toml`, as a hostile repository would write it.
//!
//! Invariant: nothing in it overrides the operator.

use patchwright::config::repository_file::{LARGEST, parse};

use patchwright::config::locate::locate;
use proptest::proptest;

use super::*;

fn project(text: &str) -> ProjectConfig {
    toml::from_str(&format!("sentry = \"web\"\nrepository = \"acme/web\"\n{text}")).expect("a project")
}

#[test]
fn it_fills_in_what_the_operator_left_open() {
    let file =
        parse("test = \"make test\"\nsetup = [\"make\", \"deps\"]\npath = \"web\"\nenvironments = [\"production\"]");
    let filled = file.expect("sound").fill(&project(""));
    let expected =
        "test = \"make test\"\nsetup = [\"make\", \"deps\"]\npath = \"web\"\nenvironments = [\"production\"]";
    assert_eq!(filled, project(expected));
}

#[test]
fn what_the_operator_set_wins() {
    let file = parse("test = \"t\"\nsetup = \"s\"\npath = \"p\"\nenvironments = [\"e\"]").expect("sound");
    let set = project("test = \"T\"\nsetup = \"S\"\npath = \"P\"\nenvironments = [\"E\"]\nlevels = [\"fatal\"]");
    assert_eq!(file.fill(&set), set);
}

#[test]
fn keys_of_the_operator_are_refused_with_that_reason() {
    for key in ["agent", "pass_env", "repository", "related", "lfs", "submodules", "base", "levels"] {
        let error = parse(&format!("\n{key} = 1")).expect_err(key).to_string();
        let reason = format!("`{key}` can be set only by the operator, in `[[project]]` of patchwright.toml");
        assert_eq!(error, format!(".patchwright.toml:2:1: unknown key `{key}`; {reason}"));
    }
    let error = parse("[agents.x]\ncommand = [\"x\"]").expect_err("agents").to_string();
    assert!(error.contains("only by the operator"), "{error}");
}

#[test]
fn hostile_contents_are_refused() {
    for text in [
        "path = \"../../etc\"",
        "path = \"/etc\"",
        "test = \"\"",
        "setup = []",
        "environments = \"production\"",
        "tests = \"typo\"",
        "test = 1",
        "not toml",
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(".patchwright.toml:1:"), "{error}");
    }
    assert!(parse(&"#".repeat(LARGEST)).is_ok());
    assert!(parse(&"#".repeat(LARGEST + 1)).is_err());
    assert!(parse(&format!("x = {}", "[".repeat(60_000))).is_err(), "deep nesting is an error, not a crash");
}

#[test]
fn an_error_shows_no_control_characters_and_stays_short() {
    let evil: String = (0..5_000).map(|n| format!("\"\\u001b[2J{n}\" = 1\n")).take(3_000).collect();
    let error = parse(&evil).expect_err("unknown keys").to_string();
    assert!(!error.contains('\u{1b}') && error.len() < 20_000, "{}", error.len());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "([a-z]{0,6}[=\\[\\]{}.\"' \\n#-]{0,3}|\\PC|[0-9_]{1,4}|(setup|test|path|levels) = ){0,24}") {
        let _ = parse(&text);
        let _ = locate(&text, &text);
    }
}
