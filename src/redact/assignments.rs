//! Finds secrets in text by the name that they are given: `password=…`, `"api_key": "…"`, `Cookie: …`.
//!
//! Invariant: one pass, linear in the text; what is replaced is the value, never the name; source code that only passes
//! a secret on (`password=form.password`, `token = get_token()`) stays as it is.

use super::{is_marker, keys, marker};

/// Longest name that is looked at, in bytes.
const LONGEST_NAME: usize = 64;

/// Longest unquoted value that is taken for code, in bytes; what is longer is replaced, which keeps this linear.
const LONGEST_CODE: usize = 256;

/// A value in the text.
struct Found {
    start: usize,
    end: usize,
    quoted: bool,
}

/// The text with a marker for each value of a secret's name.
pub(super) fn replace(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices([':', '=']) {
        if at < copied {
            continue;
        }
        let Some(name) = name_before(text, at).filter(|name| keys::is_secret(name)) else { continue };
        let Some(value) = value_after(text, at, keys::is_header(name)) else { continue };
        let shown = text.get(value.start..value.end).unwrap_or_default();
        let spaced = text.get(..at).is_some_and(|before| before.ends_with(' '));
        if shown.is_empty() || is_marker(shown) || (!value.quoted && is_code(shown, name, spaced)) {
            continue;
        }
        clean.push_str(text.get(copied..value.start).unwrap_or_default());
        clean.push_str(&marker(keys::KIND));
        copied = value.end;
    }
    clean.push_str(text.get(copied..).unwrap_or_default());
    clean
}

/// The name that ends before this `:` or `=`, without blanks and quotes.
fn name_before(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?.trim_end_matches(' ');
    let before = before.strip_suffix(['"', '\'', '`', ']']).unwrap_or(before);
    let before = before.strip_suffix(['"', '\'']).unwrap_or(before).trim_end_matches('\\');
    let part_of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let length = before.bytes().rev().take(LONGEST_NAME + 1).take_while(part_of_name).count();
    // The user in `https://token:x@host` names nothing; the password there has its own shape.
    let (rest, name) = before.split_at_checked(before.len() - length)?;
    (length <= LONGEST_NAME && !rest.ends_with("://")).then_some(name).filter(|name| !name.is_empty())
}

/// The value after the `:` or `=` at this place: what is quoted, else up to the next blank or delimiter.
fn value_after(text: &str, at: usize, header: bool) -> Option<Found> {
    let rest = text.get(at..)?;
    let value = rest.trim_start_matches([':', '=', '>']).trim_start_matches([' ', '\t']);
    // Prefixes of strings in Python and Rust.
    let bare = value.trim_start_matches(['b', 'r', 'f', 'u']);
    let value = if bare.starts_with(['"', '\'']) { bare } else { value };
    let start = text.len() - value.len();
    let opening = value.trim_start_matches('\\');
    match opening.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => {
            // In JSON inside of JSON the quotes are escaped, and the closing one is escaped as deep.
            let depth = value.len() - opening.len();
            let start = start + depth + quote.len_utf8();
            let length = quoted_length(text.get(start..)?, quote, depth);
            Some(Found { start, end: start + length, quoted: true })
        }
        _ => {
            let delimiter = |c: char| match c {
                '\n' | '\r' | '"' | '\'' | '`' => true,
                '&' | ',' | ';' | '<' | '>' => !header,
                _ => !header && c.is_whitespace(),
            };
            Some(Found { start, end: start + value.find(delimiter).unwrap_or(value.len()), quoted: header })
        }
    }
}

/// Bytes up to the closing quote, which has `depth` backslashes before it; without one, up to the end of the line.
fn quoted_length(text: &str, quote: char, depth: usize) -> usize {
    let mut backslashes = 0;
    for (at, c) in text.char_indices() {
        match c {
            '\\' => backslashes += 1,
            '\n' => return at,
            _ if c == quote && backslashes <= depth => return at - backslashes,
            _ => backslashes = 0,
        }
    }
    text.len()
}

/// Whether an unquoted value reads as code that passes a secret on, or as a type, rather than as a secret.
fn is_code(value: &str, name: &str, spaced: bool) -> bool {
    if value.len() > LONGEST_CODE {
        return false;
    }
    let value = value.trim_end_matches([')', '}', ']']);
    let identifier = |part: &str| part.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let path = value.split(['.', ':', '?', '&', '*']).all(identifier);
    let literals = [
        "",
        "None",
        "null",
        "nil",
        "true",
        "false",
        "True",
        "False",
        "undefined",
        "str",
        "string",
        "String",
        "bool",
        "int",
    ];
    literals.contains(&value)
        || value == name
        // A call, an index, a formatted or a shell variable.
        || value.find(['(', '[']).is_some_and(|at| at > 0 && value.get(..at).is_some_and(|head| head.split('.').all(identifier)))
        || value.starts_with(['{', '$', '%', '(', '&', '*', '?'])
        // `a.b` is an attribute; a single word is one only where code puts blanks around the sign.
        || (path && (spaced || value.contains('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_names_are_taken_out_of_any_notation() {
        for (dirty, clean) in [
            ("password=hunter2&x=1", "password=[redacted:key]&x=1"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted:key]"),
            ("password = \"correct horse\";", "password = \"[redacted:key]\";"),
            ("{'api_key': 'k-1', 'n': 2}", "{'api_key': '[redacted:key]', 'n': 2}"),
            (r#"{\"token\":\"a\\\"b\",\"n\":1}"#, r#"{\"token\":\"[redacted:key]\",\"n\":1}"#),
            (r#"{"token":"a\"b","n":1}"#, r#"{"token":"[redacted:key]","n":1}"#),
            ("secret := \"x\"", "secret := \"[redacted:key]\""),
            (":secret => 'x'", ":secret => '[redacted:key]'"),
            ("env['SECRET_KEY'] = 'x'", "env['SECRET_KEY'] = '[redacted:key]'"),
            ("Authorization: Digest a b c\nHost: h", "Authorization: [redacted:key]\nHost: h"),
            ("Cookie: a=1; b=2", "Cookie: [redacted:key]"),
            ("password=\"never closed", "password=\"[redacted:key]"),
            ("token: abc, password: def", "token: [redacted:key], password: [redacted:key]"),
        ] {
            assert_eq!(replace(dirty), clean);
            assert_eq!(replace(clean), clean);
        }
    }

    #[test]
    fn code_that_passes_a_secret_on_stays_readable() {
        let clean = "login(password=form.password, token=self.token, secret=None)\n\
                     token = get_token(user)\nlet token: String = next;\npassword = os.environ[\"PW\"]\n\
                     auth = session\nif token == null {}\nauthor=Ada, token_count=3\ncurl -u $USER password=${PW} https://token:8080\n";
        assert_eq!(replace(clean), clean);
    }

    #[test]
    fn a_marker_with_something_left_beside_it_is_replaced_whole() {
        assert_eq!(replace("password=[redacted:secret]tail"), "password=[redacted:key]");
    }
}
