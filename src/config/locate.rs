//! Where in a configuration file a key is written.
//!
//! Invariant: lines and columns count from 1, columns in characters, as editors count them.

use toml::de::{DeTable, DeValue};

/// Line and column of a dotted key, such as `worker.count` or `project[0].path`. Where the key is not written, those of
/// the innermost table around it that is; `None` where there is none.
#[must_use]
pub fn locate(text: &str, key: &str) -> Option<(usize, usize)> {
    let table = DeTable::parse(text).ok()?;
    in_table(table.get_ref(), key).map(|offset| position(text, offset))
}

/// Line and column of a byte of a text.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).map_or(0, |line| line.trim_start_matches('\u{feff}').chars().count());
    (before.matches('\n').count() + 1, column + 1)
}

fn in_table(table: &DeTable<'_>, key: &str) -> Option<usize> {
    table.iter().find_map(|(name, value)| {
        let rest = key.strip_prefix(name.get_ref().as_ref())?;
        if !rest.is_empty() && !rest.starts_with(['.', '[']) {
            return None;
        }
        in_value(value.get_ref(), rest).or(Some(name.span().start))
    })
}

/// `rest` begins with `.name` or `[number]`, or is empty where the value itself is meant.
fn in_value(value: &DeValue<'_>, rest: &str) -> Option<usize> {
    if let Some(key) = rest.strip_prefix('.') {
        return in_table(value.as_table()?, key);
    }
    let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let element = value.as_array()?.get(index.parse::<usize>().ok()?)?;
    in_value(element.get_ref(), rest).or(Some(element.span().start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data_dir = \"ä\"\nstore.url = \"x\"\n\n[worker]\n  count = 2\n\n[agents.\"a.b\"]\ncommand = []\n\n\
                        [[project]]\nsentry = \"one\"\n\n[[project]]\nrelated = [\"x\", \"ü\", \"y\"]\n";

    #[test]
    fn keys_are_found_in_sections_dotted_keys_and_arrays() {
        assert_eq!(locate(TEXT, "data_dir"), Some((1, 1)));
        assert_eq!(locate(TEXT, "store.url"), Some((2, 7)));
        assert_eq!(locate(TEXT, "worker.count"), Some((5, 3)));
        assert_eq!(locate(TEXT, "agents.a.b.command"), Some((8, 1)));
        assert_eq!(locate(TEXT, "project[0].sentry"), Some((11, 1)));
        assert_eq!(locate(TEXT, "project[1].related[2]"), Some((14, 22)));
    }

    #[test]
    fn what_is_not_written_is_where_its_table_is() {
        assert_eq!(locate(TEXT, "worker.lease"), Some((4, 2)));
        assert_eq!(locate(TEXT, "project[1].sentry"), Some((13, 1)));
        assert_eq!(locate(TEXT, "forge.token"), None);
        assert_eq!(locate("not = = toml", "not"), None);
    }
}
