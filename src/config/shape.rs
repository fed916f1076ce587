//! Which keys a configuration file has, and which kind of value each of them takes.
//!
//! Invariant: read off the JSON Schema and therefore off the types that read the file; there is no second list of keys.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::de::DeValue;

/// A kind of TOML value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Array,
    Table,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Text, Self::Integer, Self::Boolean, Self::Array, Self::Table];

    /// The kind of a value; `None` for those that no key takes.
    pub(super) const fn of(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(_) => Some(Self::Text),
            DeValue::Integer(_) => Some(Self::Integer),
            DeValue::Boolean(_) => Some(Self::Boolean),
            DeValue::Array(_) => Some(Self::Array),
            DeValue::Table(_) => Some(Self::Table),
            DeValue::Float(_) | DeValue::Datetime(_) => None,
        }
    }

    const fn in_schema(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Table => "object",
        }
    }

    /// As part of a sentence: "write …".
    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Text => "a string in quotes",
            Self::Integer => "a whole number",
            Self::Boolean => "`true` or `false`",
            Self::Array => "an array, `[…]`",
            Self::Table => "a table",
        }
    }
}

/// What a key takes: one part of a JSON Schema in which nothing refers to elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'s>(&'s Value);

/// The whole of `patchwright.toml`.
pub(super) fn config() -> Shape<'static> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema::<super::Config>);
    Shape(&SCHEMA)
}

/// The whole of `.patchwright.toml`.
pub(super) fn repository_file() -> Shape<'static> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema::<super::repository_file::RepositoryFile>);
    Shape(&SCHEMA)
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

impl<'s> Shape<'s> {
    /// The keys of a table that names them.
    pub(super) fn keys(self) -> impl Iterator<Item = (&'s str, Self)> {
        let properties = self.0.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, shape)| (name.as_str(), Self(shape)))
    }

    /// What `name` takes in this table.
    pub(super) fn key(self, name: &str) -> Option<Self> {
        let free = || self.0.get("additionalProperties").filter(|shape| shape.is_object()).map(Self);
        self.keys().find(|(key, _)| *key == name).map(|(_, shape)| shape).or_else(free)
    }

    /// What the elements of an array take.
    pub(super) fn items(self) -> Option<Self> {
        self.alternatives().find_map(|alternative| alternative.0.get("items")).map(Self)
    }

    /// The keys that a table must have.
    pub(super) fn required(self) -> impl Iterator<Item = &'s str> {
        self.0.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The kinds of value that are taken.
    pub(super) fn kinds(self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.takes(*kind)).collect()
    }

    /// Whether this kind of value is taken.
    pub(super) fn takes(self, kind: Kind) -> bool {
        self.alternatives().any(|alternative| match alternative.0.get("type") {
            Some(Value::String(name)) => name == kind.in_schema(),
            Some(Value::Array(names)) => names.iter().any(|name| name == kind.in_schema()),
            _ => false,
        })
    }

    /// The greatest whole number that is taken.
    pub(super) fn maximum(self) -> u64 {
        self.alternatives().find_map(|alternative| alternative.0.get("maximum")?.as_u64()).unwrap_or(u64::MAX)
    }

    /// The words that are taken, where only certain words are.
    pub(super) fn choices(self) -> Vec<&'s str> {
        self.alternatives().filter_map(|alternative| alternative.0.get("const")?.as_str()).collect()
    }

    /// An example of what is written, where a string has to have a unit.
    pub(super) fn example_with_unit(self) -> Option<&'static str> {
        let pattern = self.alternatives().find_map(|alternative| alternative.0.get("pattern")?.as_str())?;
        if pattern.ends_with("(ms|s|m|h|d)$") {
            Some("a time with its unit, such as \"30s\" or \"10m\"")
        } else if pattern.ends_with("(B|KiB|MiB|GiB)$") {
            Some("a size with its unit, such as \"64KiB\" or \"20MiB\"")
        } else {
            None
        }
    }

    /// The dotted keys that take a value of their own, in the order of the schema; tables whose keys are free count as one.
    pub(super) fn leaves(self) -> Vec<(String, Self)> {
        self.keys()
            .flat_map(|(name, shape)| {
                let below = shape.leaves();
                if below.is_empty() {
                    return vec![(name.to_owned(), shape)];
                }
                below.into_iter().map(|(rest, shape)| (format!("{name}.{rest}"), shape)).collect()
            })
            .collect()
    }

    /// The schemas of which one must fit, one level of `anyOf` or `oneOf` within another resolved.
    fn alternatives(self) -> impl Iterator<Item = Self> {
        let once = |shape: Self| match shape.0.get("anyOf").or_else(|| shape.0.get("oneOf")).and_then(Value::as_array) {
            Some(alternatives) => alternatives.iter().map(Self).collect(),
            None => vec![shape],
        };
        once(self).into_iter().flat_map(once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(key: &str) -> Shape<'static> {
        config().leaves().into_iter().find(|(name, _)| name == key).expect(key).1
    }

    #[test]
    fn kinds_are_seen_through_optional_values_references_and_alternatives() {
        assert_eq!(leaf("worker.count").kinds(), [Kind::Integer]);
        assert_eq!(leaf("sentry.token").kinds(), [Kind::Text]);
        assert_eq!(leaf("sentry.webhook_secrets").kinds(), [Kind::Array]);
        assert_eq!(leaf("limits.agent.wall").kinds(), [Kind::Text]);
        assert_eq!(leaf("agents").kinds(), [Kind::Table]);
        let project = leaf("project").items().expect("an array");
        assert_eq!(project.key("test").expect("a key").kinds(), [Kind::Text, Kind::Array]);
    }

    #[test]
    fn words_and_required_keys_are_known() {
        assert_eq!(leaf("forge.kind").choices(), ["github", "directory"]);
        let project = leaf("project").items().expect("an array");
        assert_eq!(project.required().collect::<Vec<_>>(), ["sentry", "repository"]);
        let agent = config().key("agents").and_then(|agents| agents.key("anything")).expect("agents are free");
        assert_eq!(agent.required().count(), 0);
    }
}
