//! How much time, output and disk a command may use, and the units in which people write that down.
//!
//! Invariant: a limit always has a unit (`"30m"`, `"20MiB"`); a bare number is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time written with its unit: `500ms`, `30s`, `10m`, `2h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub Duration);

/// A number of bytes written with its unit: `512B`, `64KiB`, `20MiB`, `5GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

/// The limits under which one command runs. Whichever is reached first ends it and its whole process tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest time from start to end.
    pub wall: Span,
    /// Longest time without a byte of output.
    pub silence: Span,
    /// Most bytes of output (standard output and error together).
    pub output: Size,
    /// Most bytes that the command's folder may hold.
    pub disk: Size,
}

impl Limits {
    /// Limits that suit a coding agent: half an hour, ten quiet minutes.
    #[must_use]
    pub const fn for_agent() -> Self {
        Self { wall: minutes(30), silence: minutes(10), output: mebibytes(64), disk: mebibytes(10 * 1024) }
    }

    /// Limits that suit a setup or test command: a quarter of an hour, ten quiet minutes.
    #[must_use]
    pub const fn for_tests() -> Self {
        Self { wall: minutes(15), silence: minutes(10), output: mebibytes(64), disk: mebibytes(10 * 1024) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::for_agent()
    }
}

const fn minutes(n: u64) -> Span {
    Span(Duration::from_secs(n * 60))
}

const fn mebibytes(n: u64) -> Size {
    Size(n * 1024 * 1024)
}

const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Most digits of a number; the schema has it too. With the largest unit it still fits into 64 bits.
const MOST_DIGITS: usize = 10;

/// Splits `12unit` and multiplies; `None` where the number, the unit or the product is not sound.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    if number.len() > MOST_DIGITS {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a number in the largest unit that divides it.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor) && value >= *factor);
    let (name, factor) = fitting.copied().unwrap_or(units[0]);
    format!("{}{name}", value / factor)
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text, &SPAN_UNITS).map(|millis| Self(Duration::from_millis(millis))).ok_or_else(|| {
            "is not a time: write a whole number and a unit, such as \"30s\", \"10m\" or \"2h\"".to_owned()
        })
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| {
            "is not a size: write a whole number and a unit, such as \"64KiB\", \"20MiB\" or \"5GiB\"".to_owned()
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPAN_UNITS))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &SIZE_UNITS))
    }
}

/// Both units are written and read as strings; the schema says so with an example.
macro_rules! as_string {
    ($type:ident, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

as_string!(Span, "^[0-9]{1,10}(ms|s|m|h|d)$");
as_string!(Size, "^[0-9]{1,10}(B|KiB|MiB|GiB)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!("90s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("2h".parse(), Ok(Span(Duration::from_secs(7200))));
        assert_eq!("20MiB".parse(), Ok(Size(20 << 20)));
    }

    #[test]
    fn they_are_written_in_the_largest_unit_that_fits() {
        assert_eq!(Span(Duration::from_secs(1800)).to_string(), "30m");
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
        assert_eq!(Size(5 << 30).to_string(), "5GiB");
        assert_eq!(Size(0).to_string(), "0B");
    }

    #[test]
    fn a_missing_unit_an_unknown_one_or_an_overflow_is_refused() {
        for text in [
            "30",
            "",
            "m",
            "3 weeks",
            "30 s",
            " 30s",
            "30s ",
            "10 MiB",
            "99999999999999999999s",
            "18446744073709551615GiB",
            "-1s",
        ] {
            assert!(text.parse::<Span>().is_err() && text.parse::<Size>().is_err(), "{text}");
        }
    }
}
