//! Tells code, comments and text apart in Rust source.
//!
//! Invariant: every view is as long as the source and has its line breaks where the source has them, so that a place in
//! a view is the place in the file.

/// One source text, three times: with nothing but its code, its comments, or its string and character literals.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) code: String,
    pub(super) comments: String,
    pub(super) strings: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Splits a source text.
pub(super) fn split(source: &str) -> Views {
    let mut kinds = Vec::with_capacity(source.len());
    while kinds.len() < source.len() {
        let start = kinds.len();
        let (length, kind) = token(source, start);
        kinds.resize(start + length, kind);
    }
    let view = |wanted| {
        let shown = source.bytes().zip(&kinds).map(|(byte, kind)| match byte {
            b'\n' => b'\n',
            _ if *kind == wanted => byte,
            _ => b' ',
        });
        String::from_utf8(shown.collect()).unwrap()
    };
    Views { code: view(Kind::Code), comments: view(Kind::Comment), strings: view(Kind::Literal) }
}

/// Length and kind of what begins at `start`.
fn token(source: &str, start: usize) -> (usize, Kind) {
    let rest = &source[start..];
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Comment);
    }
    if let Some(length) = raw_string(rest) {
        return (length, Kind::Literal);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), Kind::Literal);
    }
    if rest.starts_with('\'') {
        let mut characters = rest.chars().skip(1);
        // `'a'` and `'\n'` are characters, `'a` is a lifetime.
        return match (characters.next(), characters.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => (quoted(rest, '\''), Kind::Literal),
            _ => (1, Kind::Code),
        };
    }
    // A word is taken whole, so that the `r` at its end does not begin a raw string.
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(1, char::len_utf8);
    (word.max(first), Kind::Code)
}

/// Block comments nest in Rust.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let text = after.trim_start_matches('#');
    let hashes = after.len() - text.len();
    let body = text.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + inside)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn code_comments_and_text_are_told_apart() {
    let cases = [
        ("a // b \"c\"", "a", "// b \"c\"", ""),
        ("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */", ""),
        (r#"f("a // \" b") // c"#, "f( )", "// c", r#""a // \" b""#),
        ("r#\"a \" b\"# c", "c", "", "r#\"a \" b\"#"),
        (r#"for"a""#, "for", "", r#""a""#),
        (r"let r#type: &'a u8 = b'\'';", "let r#type: &'a u8 = b ;", "", r"'\''"),
        ("['\"', 'é', x]", "[ , , x]", "", "'\"' 'é'"),
    ];
    let words = |view: &str| view.split_whitespace().collect::<Vec<_>>().join(" ");
    for (source, code, comments, strings) in cases {
        let views = split(source);
        assert_eq!([words(&views.code), words(&views.comments), words(&views.strings)], [code, comments, strings]);
    }
}

#[test]
fn every_view_keeps_the_lines_of_the_source() {
    let source = "//! a\n/* b\nc */ let d = \"e\nf\"; // é\n";
    let views = split(source);
    for view in [&views.code, &views.comments, &views.strings] {
        assert_eq!((view.len(), view.lines().count()), (source.len(), 4));
    }
}
