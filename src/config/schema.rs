//! The JSON Schema of `patchwright.toml`, for editors.
//!
//! Invariant: it is made from the types that read the file, so it never disagrees with them.

use schemars::generate::SchemaSettings;

use super::Config;

/// The JSON Schema (draft 2020-12) of `patchwright.toml`, pretty-printed, with a line break at its end.
#[must_use]
pub fn json_schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    format!("{:#}\n", schema.as_value())
}
