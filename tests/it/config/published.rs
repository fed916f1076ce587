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

/// Every section of the file as the reference titles it, with its keys and their schemas.
fn sections(schema: &Value) -> Vec<(String, Vec<(String, Value)>)> {
    let resolved = |part: &Value| match part["$ref"].as_str() {
        Some(address) => schema.pointer(address.trim_start_matches('#')).cloned().expect("an address in the schema"),
        None => part.clone(),
    };
    let keys = |table: &Value| -> Vec<(String, Value)> {
        let keys = table["properties"].as_object().into_iter().flatten();
        keys.map(|(key, part)| (key.clone(), part.clone())).collect()
    };
    let mut sections = vec![("Top level".to_owned(), Vec::new())];
    for (name, part) in keys(schema) {
        match name.as_str() {
            "agents" => sections.push(("[agents.NAME]".to_owned(), keys(&resolved(&part["additionalProperties"])))),
            "project" => sections.push(("[[project]]".to_owned(), keys(&resolved(&part["items"])))),
            "limits" => {
                let both = keys(&resolved(&part)).into_iter();
                sections.extend(both.map(|(name, part)| (format!("[limits.{name}]"), keys(&resolved(&part)))));
            }
            _ if keys(&resolved(&part)).is_empty() => sections[0].1.push((name, part)),
            _ => sections.push((format!("[{name}]"), keys(&resolved(&part)))),
        }
    }
    sections
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

/// Whether a value fits a part of the schema, by the words that our schema uses.
fn fits(schema: &Value, part: &Value, value: &Value) -> bool {
    let part = match part["$ref"].as_str() {
        Some(address) => schema.pointer(address.trim_start_matches('#')).expect("an address in the schema"),
        None => part,
    };
    if let Some(alternatives) = part["anyOf"].as_array().or_else(|| part["oneOf"].as_array()) {
        return alternatives.iter().any(|part| fits(schema, part, value));
    }
    let kind = match value {
        Value::String(_) => "string",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "array",
        _ => "object",
    };
    let kinds = part["type"].as_array().cloned().unwrap_or_else(|| vec![part["type"].clone()]);
    let pattern = part["pattern"].as_str().map(|pattern| regex::Regex::new(pattern).expect("a pattern"));
    kinds.iter().any(|known| known.is_null() || known == kind)
        && (part["const"].is_null() || part["const"] == *value)
        && pattern.is_none_or(|pattern| value.as_str().is_none_or(|text| pattern.is_match(text)))
        && part["minimum"].as_f64().is_none_or(|least| value.as_f64().is_none_or(|number| number >= least))
        && part["maximum"].as_f64().is_none_or(|most| value.as_f64().is_none_or(|number| number <= most))
        && value.as_array().into_iter().flatten().all(|element| fits(schema, &part["items"], element))
}

#[test]
fn the_schema_and_the_program_take_the_same_values() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
    let cases = [
        ("data_dir", "\"\" \" \" \"d\" 1"),
        ("server.listen", "\"x\" \"localhost:80\" \"127.0.0.1:80\" \"127.0.0.1:99999\" \"1.2.3.256:1\" \"[::]:8080\""),
        ("server.max_body", "\"10GB\" \"10 MiB\" \"1MiB\" \"99999999999GiB\" 5"),
        ("server.max_connections", "0 4294967295 4294967296 -1 2.0 \"1\""),
        ("worker.lease", "\"30s\" \"30 s\" \" 30s\" \"30s \" \"30\" \"18446744073709551615d\""),
        ("worker.count", "2 -1 9223372036854775807 1e3"),
        ("worker.max_runs", "4294967295 4294967296"),
        ("worker.keep_workspaces", "true \"true\" 1"),
        ("sentry.token", "\"env:A\" \"env:A-B\" \"env:1A\" \"file:\" \"file:x\" \"vault:x\""),
        ("sentry.webhook_secrets", "[] [\"x\"] [\"env:A\",\"file:b\"] \"env:A\""),
        ("forge.kind", "\"github\" \"GitHub\" \"directory\""),
        ("git.max_files", "0 18446744073709551616"),
        ("prompt.dir", "\"x\" 1"),
        ("publish.labels", "[[]] [\"a\"] []"),
        ("publish.without_drafts", "\"open_ready\" \"open-ready\""),
    ];
    for (key, values) in cases {
        let part = key.split('.').fold(&schema, |part, name| {
            let part = match part["$ref"].as_str() {
                Some(address) => schema.pointer(address.trim_start_matches('#')).expect("an address in the schema"),
                None => part,
            };
            &part["properties"][name]
        });
        // A space within quotes is part of a value.
        let mut quoted = false;
        let values = values.split(|c: char| {
            quoted ^= c == '"';
            c == ' ' && !quoted
        });
        for value in values {
            let taken = File::new(&format!("{key} = {value}")).load().is_ok();
            let fits = fits(&schema, part, &serde_json::from_str(value).expect("JSON"));
            assert_eq!(taken, fits, "the program and the schema disagree on {key} = {value}");
        }
    }
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
fn every_key_is_in_the_example() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
    let example: toml::Table = toml::from_str(&uncommented(EXAMPLE, true)).expect("TOML");
    let example = serde_json::to_value(example).expect("JSON");
    for (section, keys) in sections(&schema) {
        let pointer = match section.as_str() {
            "Top level" => String::new(),
            "[agents.NAME]" => "/agents/mine".to_owned(),
            "[[project]]" => "/project/0".to_owned(),
            section => format!("/{}", section.trim_matches(['[', ']']).replace('.', "/")),
        };
        for (key, _) in keys {
            assert!(
                example.pointer(&format!("{pointer}/{key}")).is_some(),
                "`{key}` of {section} is not in the example"
            );
        }
    }
}

#[test]
fn the_reference_has_a_row_for_every_key_with_its_default() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
    let reference = fs::read_to_string(repository("docs/configuration.md")).expect("docs/configuration.md");
    let mut rows = 0;
    for (section, keys) in sections(&schema) {
        let title = |part: &&str| part.lines().next().is_some_and(|title| title.contains(&section));
        let table =
            reference.split("\n### ").find(title).unwrap_or_else(|| panic!("{section} is not in the reference"));
        for (key, part) in keys {
            let start = format!("| `{key}` |");
            let row = table.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("`{key}` of {section} is not in the reference"));
            let default = part["default"].to_string().replace(',', ", ");
            let shown = part["default"].is_null() || row.contains(&format!("| `{default}` |"));
            assert!(shown, "`{key}` of {section} is {default} by default: {row}");
            rows += 1;
        }
    }
    assert!(rows > 60, "{rows} rows");
}

#[test]
fn the_example_names_the_agents_that_are_built_in() {
    let line = EXAMPLE.lines().find(|line| line.starts_with("#agent = ")).expect("a line for the agent");
    for name in patchwright::agent::profile::names() {
        assert!(line.contains(&name), "{name}");
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
