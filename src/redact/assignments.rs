//! Finds secrets in text by the name that they are given: `password=…`, `"api_key": "…"`, `Cookie: …`.
//!
//! Invariant: one pass, linear in the text; what is replaced is the value, never the name; source code that only passes
//! a secret on (`password=form.password`, `token = get_token()`) stays as it is, and so do sentences
//! (`Unexpected token: punc`), since the message of an error is what a fix begins with.

use super::{is_marker, keys, marker};

/// Longest name that is looked at, in bytes.
const LONGEST_NAME: usize = 64;

/// Longest unquoted value that is taken for code, in bytes; what is longer is replaced, which keeps this linear.
const LONGEST_CODE: usize = 256;

/// Longest word of a sentence, in bytes; what is longer may be a token that happens to have no digit.
const LONGEST_WORD: usize = 24;

/// Words that say in what state a secret is. After `token: ` they are no token, even at the beginning of a text.
const STATES: [&str; 16] = [
    "absent",
    "denied",
    "disabled",
    "empty",
    "error",
    "expired",
    "failed",
    "forbidden",
    "incorrect",
    "invalid",
    "missing",
    "required",
    "revoked",
    "timeout",
    "unknown",
    "wrong",
];

/// What may end a word of a sentence.
const PUNCTUATION: [char; 7] = ['.', ',', ':', ';', '!', '?', ')'];

/// First words of an `Authorization` header.
const SCHEMES: [&str; 7] = ["apikey", "basic", "bearer", "digest", "hawk", "negotiate", "token"];

/// A value in the text.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    end: usize,
    form: Form,
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Quoted,
    Bare,
    /// To the end of the line.
    Header,
}

/// The text with a marker for each value of a secret's name.
pub(super) fn replace(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices([':', '=']) {
        if at < copied {
            continue;
        }
        let Some((from, name)) = name_before(text, at).filter(|(_, name)| keys::is_secret(name)) else { continue };
        let Some(value) = value_after(text, at, keys::is_header(name)) else { continue };
        let shown = text.get(value.start..value.end).unwrap_or_default();
        let spaced = text.get(..at).is_some_and(|before| before.ends_with(' '));
        let passed_on = match value.form {
            Form::Quoted => false,
            Form::Bare => is_code(shown, name, spaced),
            Form::Header => is_nothing(shown.trim_end_matches([',', '}', ' '])) || opens_more(shown),
        };
        if is_marker(shown) || !shown.contains(char::is_alphanumeric) || passed_on {
            continue;
        }
        let before = text.get(copied..from).unwrap_or_default();
        if value.form != Form::Quoted && text.get(at..).is_some_and(|rest| rest.starts_with(": ")) {
            let after = text.get(value.end..).unwrap_or_default();
            if is_prose(before, shown, after, value.form) {
                continue;
            }
        }
        clean.push_str(text.get(copied..value.start).unwrap_or_default());
        clean.push_str(&marker(keys::KIND));
        copied = value.end;
    }
    clean.push_str(text.get(copied..).unwrap_or_default());
    clean
}

/// The name that ends before this `:` or `=`, without blanks and quotes, and where it begins.
fn name_before(text: &str, at: usize) -> Option<(usize, &str)> {
    let before = text.get(..at)?.trim_end_matches(' ');
    let before = before.strip_suffix(['"', '\'', '`', ']']).unwrap_or(before);
    let before = before.strip_suffix(['"', '\'']).unwrap_or(before).trim_end_matches('\\');
    let part_of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let length = before.bytes().rev().take(LONGEST_NAME + 1).take_while(part_of_name).count();
    let (rest, name) = before.split_at_checked(before.len() - length)?;
    // The user in `https://token:x@host` names nothing (the password there has its own shape), nor does the file in
    // `/etc/passwd:5`.
    let in_path = rest.ends_with("://") || (rest.ends_with('/') && text.as_bytes().get(at) == Some(&b':'));
    (length <= LONGEST_NAME && !in_path && !name.is_empty()).then_some((rest.len(), name))
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
            Some(Found { start, end: start + length, form: Form::Quoted })
        }
        _ => {
            let delimiter = |c: char| match c {
                '\n' | '\r' | '"' | '\'' | '`' => true,
                '&' | ',' | ';' | '<' | '>' => !header,
                _ => !header && c.is_whitespace(),
            };
            let form = if header { Form::Header } else { Form::Bare };
            Some(Found { start, end: start + value.find(delimiter).unwrap_or(value.len()), form })
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
    is_nothing(value)
        || opens_more(value)
        || ["true", "false", "True", "False", "str", "string", "String", "bool", "int"].contains(&value)
        || value == name
        // A call, an index, a formatted or a shell variable.
        || value.find(['(', '[']).is_some_and(|at| at > 0 && value.get(..at).is_some_and(|head| head.split('.').all(identifier)))
        || value.starts_with(['$', '%', '(', '&', '*', '?'])
        // `a.b` is an attribute; a single word is one only where code puts blanks around the sign.
        || (path && (spaced || value.contains('.')))
}

/// Whether a value is the absence of one.
pub(super) fn is_nothing(value: &str) -> bool {
    matches!(value, "" | "''" | "\"\"" | "None" | "null" | "nil" | "undefined")
}

/// Whether a list or an object begins here, whose parts have names of their own. A marker of ours is neither.
fn opens_more(value: &str) -> bool {
    value.starts_with(['{', '[']) && !value.starts_with("[redacted:")
}

/// Whether what stands after `name: ` goes on a sentence instead of being a value: a word or a small number, where a word
/// stands directly before the name or after the value. A short value that is a word of a dictionary is no rare password, so
/// alone, or in a list of fields, it is taken for one.
fn is_prose(before: &str, value: &str, after: &str, form: Form) -> bool {
    if form == Form::Header {
        // `header missing in request`, but not `Digest a b`, and not `a=1; b=2`.
        let mut words = value.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let credential = SCHEMES.iter().any(|scheme| first.eq_ignore_ascii_case(scheme));
        return !credential && is_word(first) && (is_state(first) || is_word(second));
    }
    let after_a_word = before.strip_suffix(' ').is_some_and(|before| before.ends_with(char::is_alphabetic));
    let number = value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
    number || is_state(value) || (is_word(value) && (after_a_word || starts_with_a_word(after)))
}

/// A word, with the punctuation that may end it. A secret's own name with a `:` is none: what follows is its value.
fn is_word(text: &str) -> bool {
    let word = text.trim_end_matches(PUNCTUATION);
    (1..=LONGEST_WORD).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_'))
        && word.bytes().any(|b| b.is_ascii_alphabetic())
        && !(text.contains(':') && keys::is_secret(word))
}

fn is_state(text: &str) -> bool {
    let word = text.trim_end_matches(PUNCTUATION);
    STATES.iter().any(|state| word.eq_ignore_ascii_case(state))
}

/// Whether a further word follows that is not the name of the next field. The rest of `can't` is one, too.
fn starts_with_a_word(after: &str) -> bool {
    let Some(rest) = after.strip_prefix([' ', '\'']) else { return false };
    let end =
        rest.bytes().take(LONGEST_NAME).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
    let next = rest.get(end..).unwrap_or_default().trim_start_matches(['"', '\'', ' ']);
    end > 0 && !next.starts_with([':', '='])
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
    fn a_sentence_about_a_secret_stays_readable() {
        for clean in [
            "SyntaxError: Unexpected token: punc (})",
            "Unexpected token: '<'",
            "Failed to refresh session: timeout after 5s",
            "auth: permission denied",
            "auth: can't connect to ldap",
            "auth: 401 Unauthorized",
            "csrf token: missing",
            "token: expired",
            "Wrong password: Too short.",
            "Authorization: header missing in request for GET /x",
            "{'password': ['This field is required.']}",
            "at /etc/passwd:5",
            "open /etc/passwd: permission denied",
            r#"{"cookies": [1], "cookie": null}"#,
        ] {
            assert_eq!(replace(clean), clean);
        }
    }

    #[test]
    fn a_value_in_a_list_of_fields_is_no_sentence() {
        for (dirty, clean) in [
            ("token: abc password: def host: db", "token: [redacted:key] password: [redacted:key] host: db"),
            ("user ada token: s3cr3t9", "user ada token: [redacted:key]"),
            ("the password: a1b token: abc", "the password: [redacted:key] token: [redacted:key]"),
            ("Set-Cookie: sid=abc def", "Set-Cookie: [redacted:key]"),
            ("Cookie: token: Bearer ", "Cookie: [redacted:key]"),
            ("secret: token: Bearer", "secret: [redacted:key] Bearer"),
            ("Authorization: token abc", "Authorization: [redacted:key]"),
        ] {
            assert_eq!(replace(dirty), clean);
            assert_eq!(replace(clean), clean);
        }
    }

    #[test]
    fn a_marker_with_something_left_beside_it_is_replaced_whole() {
        assert_eq!(replace("password=[redacted:secret]tail"), "password=[redacted:key]");
    }
}
