//! Reads one configuration file: syntax, keys, kinds of values, then the values themselves.
//!
//! Invariant: every problem has its place, and all wrong keys and kinds are reported at once. No message repeats a
//! string value, since it could be a secret that was pasted in the wrong place.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::locate::position;
use super::nearest::nearest;
use super::problem::{Place, Problem};
use super::shape::{self, Kind, Shape};

/// Most problems that are reported of one text: a hostile file can have thousands.
const MOST_FINDINGS: usize = 50;

/// The longest name that is repeated in full.
const LONGEST_NAME: usize = 64;

/// What is wrong in a text, and which bytes of it are meant.
type Finding = (Range<usize>, Problem);

/// Reads a text of a certain shape; `file` is its name in messages, and `explain` may say more about an unknown key.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    file: &Path,
    shape: Shape<'_>,
    explain: fn(&str) -> Option<String>,
) -> Result<T, Vec<Problem>> {
    parse(text, shape, explain).map_err(|mut findings| {
        findings.sort_by_key(|(span, _)| span.start);
        let placed = |(span, problem): Finding| {
            let (line, column) = position(text, span.start);
            problem.at(Some(Place { file: file.to_owned(), line, column }))
        };
        findings.into_iter().map(placed).collect()
    })
}

/// What is wrong with a value that is not written in a file.
pub(super) fn check_value(value: &Spanned<DeValue<'_>>, shape: Shape<'_>, key: &str) -> Vec<Problem> {
    let mut examination = Examination { explain: |_| None, findings: Vec::new() };
    examination.value(value, shape, key);
    examination.findings.into_iter().map(|(_, problem)| problem).collect()
}

/// A message of `serde`, with what to do about it.
pub(super) fn explained(key: &str, message: &str) -> Problem {
    if message.starts_with("invalid socket address") {
        return Problem::error(
            key,
            format!("`{key}` is not an address"),
            "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
        );
    }
    if message.starts_with("invalid value: integer") || message.starts_with("invalid type: integer") {
        return Problem::error(key, format!("`{key}` is out of range"), "write a smaller whole number");
    }
    let (what, remedy) = message.split_once(": ").unwrap_or((message, ""));
    let colon = if what.starts_with("is ") { "" } else { ":" };
    Problem::error(key, format!("`{key}`{colon} {what}"), remedy)
}

fn parse<T: DeserializeOwned>(
    text: &str,
    shape: Shape<'_>,
    explain: fn(&str) -> Option<String>,
) -> Result<T, Vec<Finding>> {
    let table = DeTable::parse(text).map_err(|error| vec![syntax(&error)])?;
    let mut examination = Examination { explain, findings: Vec::new() };
    examination.table(table.get_ref(), 0..0, shape, "");
    if !examination.findings.is_empty() {
        return Err(examination.findings);
    }
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let key = key_around(table.get_ref(), span.start, "");
        vec![(span, explained(&key, error.message()))]
    })
}

fn syntax(error: &toml::de::Error) -> Finding {
    let remedy = match error.message() {
        "duplicate key" => "keep one of the two",
        message if message.starts_with("string values must be quoted") => "write it in quotes",
        _ => "correct the TOML",
    };
    (error.span().unwrap_or(0..0), Problem::error("", error.message(), remedy))
}

/// A walk through a document beside its shape.
struct Examination {
    explain: fn(&str) -> Option<String>,
    findings: Vec<Finding>,
}

impl Examination {
    fn table(&mut self, table: &DeTable<'_>, at: Range<usize>, shape: Shape<'_>, prefix: &str) {
        for (name, value) in table {
            let key = joined(prefix, name.get_ref());
            match shape.key(name.get_ref()) {
                Some(shape) => self.value(value, shape, &key),
                None => {
                    let remedy = (self.explain)(&key).unwrap_or_else(|| known_instead(name.get_ref(), shape, prefix));
                    self.add(name.span(), Problem::error(key.as_str(), format!("unknown key `{key}`"), remedy));
                }
            }
        }
        for name in shape.required().filter(|name| !table.contains_key(*name)) {
            let key = joined(prefix, name);
            let problem = Problem::error(key.as_str(), format!("`{key}` is missing"), format!("add `{name} = …` here"));
            self.add(at.clone(), problem);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: Shape<'_>, key: &str) {
        if !Kind::of(value.get_ref()).is_some_and(|kind| shape.takes(kind)) {
            return self.add(value.span(), wrong_kind(value.get_ref(), shape, key));
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, value.span(), shape, key),
            DeValue::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    if let Some(shape) = shape.items() {
                        self.value(element, shape, &format!("{key}[{index}]"));
                    }
                }
            }
            DeValue::Integer(number)
                if !u64::from_str_radix(number.as_str(), number.radix())
                    .is_ok_and(|number| number <= shape.maximum()) =>
            {
                let what = format!("`{key}` is negative or too large");
                self.add(value.span(), Problem::error(key, what, "write a whole number from 0"));
            }
            DeValue::String(text) => {
                let choices = shape.choices();
                if !choices.is_empty() && !choices.contains(&text.as_ref()) {
                    let meant = nearest(text, choices.iter().copied());
                    let remedy = meant.map_or_else(
                        || format!("write one of {}", listed(choices.iter().copied())),
                        |word| format!("did you mean `{word}`?"),
                    );
                    self.add(value.span(), Problem::error(key, format!("`{key}` has an unknown value"), remedy));
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, span: Range<usize>, problem: Problem) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push((span, problem));
        }
    }
}

fn wrong_kind(value: &DeValue<'_>, shape: Shape<'_>, key: &str) -> Problem {
    let what = format!("`{key}` cannot be of the type {}", value.type_str());
    let kinds = shape.kinds();
    let tables = kinds == [Kind::Array] && shape.items().is_some_and(|items| items.takes(Kind::Table));
    let remedy = match kinds.as_slice() {
        _ if tables => format!("write `[[{key}]]` for each one"),
        [Kind::Array] => "write an array of strings, such as [\"one\", \"two\"]".to_owned(),
        [Kind::Table] if key.contains('.') => format!("write a section `[{key}]`"),
        [Kind::Text] if let Some(example) = shape.example_with_unit() => format!("write {example}"),
        kinds => format!("write {}", kinds.iter().map(|kind| kind.shown()).collect::<Vec<_>>().join(" or ")),
    };
    Problem::error(key, what, remedy)
}

/// The key that was probably meant: one beside it, the same one of another section, or else what there is to choose from.
fn known_instead(name: &str, shape: Shape<'_>, prefix: &str) -> String {
    // By its letters it would be `git`.
    if name == "github" && shape.key("forge").is_some() {
        return "did you mean `forge`?".to_owned();
    }
    if let Some(near) = nearest(name, shape.keys().map(|(key, _)| key)) {
        return format!("did you mean `{}`?", joined(prefix, near));
    }
    let leaves = shape::config().leaves();
    let elsewhere = leaves.iter().filter(|(key, _)| key.rsplit('.').next() == Some(name)).map(|(key, _)| key.as_str());
    let elsewhere: Vec<_> = elsewhere.collect();
    match elsewhere.as_slice() {
        [] => format!("known here are {}", listed(shape.keys().map(|(key, _)| key))),
        [key] if !key.contains('.') => format!("`{key}` belongs above the first section"),
        keys => format!("did you mean {}?", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ")),
    }
}

/// The dotted key of the value that holds this byte.
fn key_around(table: &DeTable<'_>, offset: usize, prefix: &str) -> String {
    let holds = |span: Range<usize>| span.contains(&offset);
    for (name, value) in table {
        let key = joined(prefix, name.get_ref());
        if holds(value.span()) && !value.get_ref().is_table() {
            return key;
        }
        if let Some(table) = value.get_ref().as_table() {
            let below = key_around(table, offset, &key);
            if below != key {
                return below;
            }
        }
        for (index, element) in value.get_ref().as_array().into_iter().flatten().enumerate() {
            if let Some(table) = element.get_ref().as_table() {
                let key = format!("{key}[{index}]");
                let below = key_around(table, offset, &key);
                if below != key {
                    return below;
                }
            }
        }
    }
    prefix.to_owned()
}

/// Section and name as a dotted key.
fn joined(prefix: &str, name: &str) -> String {
    let name = shown(name);
    if prefix.is_empty() { name } else { format!("{prefix}.{name}") }
}

/// A name that may be hostile: shortened, and without anything that a terminal or a log would not show as it is.
fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "_-. ".contains(c) { c } else { '?' };
    name.chars().take(LONGEST_NAME).map(plain).collect()
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
