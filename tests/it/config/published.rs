//! Example, reference and schema against the code.
//!
//! Invariant: what is published about a key is what the program does.

use super::*;

/// The example with every line taken that is commented out, except those marked `# example`.
fn uncommented(text: &str, with_examples: bool) -> String {
    let setting =
        |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let wanted = |line: &&str| with_examples || !line.contains("# example");
    text.lines().filter(setting).filter(wanted).map(|line| format!("{}\n", &line[1..])).collect()
}

fn keys(schema: &Value) -> Vec<String> {
    let tables = schema["$defs"].as_object().into_iter().flatten().map(|(_, table)| table).chain([schema]);
    tables.filter_map(|table| table["properties"].as_object()).flat_map(|keys| keys.keys().cloned()).collect()
}

#[test]
fn the_schema_in_docs_is_current() {
    let committed =
        fs::read_to_string(repository("docs/patchwright.schema.json")).expect("docs/patchwright.schema.json");
    assert!(
        committed == json_schema(),
        "docs/patchwright.schema.json is out of date: run `patchwright init --schema > docs/patchwright.schema.json`"
    );
}

#[test]
fn the_example_as_it_stands_changes_nothing() {
    assert_eq!(File::new(EXAMPLE).load().expect("sound").config, Config::default());
    assert!(EXAMPLE.starts_with("#:schema "), "editors find the schema by the first line");
}

#[test]
fn the_example_shows_the_defaults() {
    let (settings, entries) = EXAMPLE.split_once("# An agent of your own").expect("agents and projects come last");
    let text = uncommented(settings, false);
    assert!(text.contains("max_connections = 512"), "lines are found");
    assert_eq!(File::new(&text).load().expect("sound").config, Config::default());

    let (agent, project) = entries.split_once("# One entry").expect("projects come last");
    let required = "[agents.mine]\ncommand = []\n";
    let minimal = File::new(required).load().expect("sound").config.agents;
    let shown = uncommented(agent, false) + "command = []\n";
    assert_eq!(File::new(&shown).load().expect("sound").config.agents, minimal);

    let required = "sentry = \"a\"\nrepository = \"a/b\"\n";
    let minimal = File::new(&format!("[[project]]\n{required}")).load().expect("sound").config.projects;
    let shown = uncommented(project, false) + required;
    assert_eq!(File::new(&shown).load().expect("sound").config.projects, minimal);
}

#[test]
fn the_example_with_everything_uncommented_has_no_error() {
    let loaded = File::new(&uncommented(EXAMPLE, true)).load().expect("sound");
    let errors: Vec<_> = loaded.check(&[]).into_iter().filter(Problem::is_error).collect();
    assert_eq!(errors, []);
}

#[test]
fn every_key_is_in_the_example_and_in_the_reference() {
    let reference = fs::read_to_string(repository("docs/configuration.md")).expect("docs/configuration.md");
    let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
    let keys = keys(&schema);
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        let in_example = EXAMPLE.lines().any(|line| {
            line.starts_with(&format!("#{key} = "))
                || line.starts_with(&format!("#[{key}"))
                || line.contains(&format!("[limits.{key}]"))
        }) || EXAMPLE.contains(&format!("[[{key}]]"));
        assert!(in_example, "`{key}` is not in patchwright.example.toml");
        let in_reference = [format!("`{key}`"), format!("[{key}"), format!("[limits.{key}]")];
        assert!(in_reference.iter().any(|text| reference.contains(text)), "`{key}` is not in docs/configuration.md");
    }
}

#[test]
fn every_placeholder_is_in_the_example_and_in_the_reference() {
    let reference = fs::read_to_string(repository("docs/configuration.md")).expect("docs/configuration.md");
    for name in PLACEHOLDERS {
        let placeholder = format!("{{{name}}}");
        assert!(EXAMPLE.contains(&placeholder) && reference.contains(&placeholder), "{placeholder}");
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
