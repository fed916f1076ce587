//! Reads the JSON file that an agent may leave behind.
//!
//! Invariant: the file is hostile: it is opened without following links, read up to a limit, and every field is cut. A
//! file that says something is never taken for none: either it has a verdict that can be read, or it is refused.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most bytes of the file that are read.
const MOST_BYTES: u64 = 256 * 1024;
/// Most characters of one field.
const MOST_CHARS: usize = 8_000;

/// Bytes of a word that is not cut.
const LONGEST_WORD: usize = 4_000;

/// What the agent found out, in its own words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentVerdict {
    /// It changed code to fix the error.
    Fix,
    /// Code is not the answer, or it found none.
    NoFix,
}

/// What an agent hands back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handback {
    /// Whether it fixed anything.
    pub verdict: AgentVerdict,
    /// Why the error happened.
    #[serde(default)]
    pub root_cause: String,
    /// What it did about it, or why not.
    #[serde(default)]
    pub summary: String,
    /// The tests that it added or changed, as it names them.
    #[serde(default)]
    pub tests: Vec<String>,
}

/// Reads the result file; `None` where the agent left none.
///
/// # Errors
/// A clause that says what is wrong with the file.
pub fn read(path: &Path) -> Result<Option<Handback>, String> {
    let file = match open(path) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(format!("the result file could not be opened: {error}")),
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err("the result file is not a regular file".to_owned());
    }
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("the result file could not be read: {error}"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("the result file is larger than {MOST_BYTES} bytes"));
    }
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut handback = parse(&String::from_utf8_lossy(&text))?;
    cut(&mut handback.root_cause);
    cut(&mut handback.summary);
    handback.tests.truncate(50);
    handback.tests.iter_mut().for_each(cut);
    Ok(Some(handback))
}

/// Neither the file nor its folder may be a link.
fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let (folder, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let careful = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, careful | OFlags::DIRECTORY, Mode::empty())?;
    rustix::fs::openat(folder, name, careful, Mode::empty())
}

/// Reads what models write when they are asked for JSON. Only the verdict has to be there: a flaw elsewhere must not
/// turn "no fix" into a pull request, nor lose a fix.
fn parse(text: &str) -> Result<Handback, String> {
    let text = unwrapped(text);
    // A line break within a text is the most common flaw; elsewhere, one means as much as a blank.
    let spaced = || text.replace(char::is_control, " ");
    let value = match serde_json::from_str::<Value>(text).or_else(|_| serde_json::from_str(&spaced())) {
        Ok(value) => value,
        // A quotation mark within a text, or the end missing: the verdict may be whole all the same.
        Err(error) => match quoted_verdict(text) {
            Some(verdict) => serde_json::json!({ "verdict": verdict }),
            None => return Err(format!("the result file is not the JSON that was asked for: {error}")),
        },
    };
    let verdict = match &value["verdict"] {
        Value::String(word) => word.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase(),
        _ => String::new(),
    };
    let verdict = match verdict.as_str() {
        "fix" => AgentVerdict::Fix,
        "nofix" => AgentVerdict::NoFix,
        _ => return Err("the result file has no `verdict` of `fix` or `no_fix`".to_owned()),
    };
    let text = |name: &str| texts(&value[name]).join("\n");
    Ok(Handback { verdict, root_cause: text("root_cause"), summary: text("summary"), tests: texts(&value["tests"]) })
}

/// The text without a byte order mark and without the fence of a code block.
fn unwrapped(text: &str) -> &str {
    let text = text.trim_start_matches('\u{FEFF}').trim();
    let Some((_, inner)) = text.strip_prefix("```").and_then(|rest| rest.split_once('\n')) else { return text };
    inner.trim_end().strip_suffix("```").unwrap_or(inner)
}

/// The verdict in a text that is no JSON as a whole.
fn quoted_verdict(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"verdict\"")?;
    let word = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(word.split_once('"')?.0)
}

/// A text, or the texts of a list; nothing else counts.
fn texts(value: &Value) -> Vec<String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Cuts a text that people read to a length that they read.
pub(super) fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARS) {
        text.truncate(end);
        // Half a secret is not recognised as one: the cut falls between words where there are any.
        if let Some(space) = text.rfind(char::is_whitespace).filter(|space| end - space < LONGEST_WORD) {
            text.truncate(space);
        }
        text.push_str(" […]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &[u8]) -> Result<Option<Handback>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_verdict_alone_is_enough() {
        let handback = read_text(br#"{"verdict":"no_fix","summary":"the disk is full"}"#).unwrap().unwrap();
        assert_eq!(handback.verdict, AgentVerdict::NoFix);
        assert_eq!(handback.summary, "the disk is full");
    }

    #[test]
    fn no_file_and_an_empty_file_are_no_result() {
        assert_eq!(read(Path::new("/nonexistent/result.json")), Ok(None));
        assert_eq!(read_text(b" \n"), Ok(None));
    }

    #[test]
    fn nonsense_a_link_and_a_huge_file_are_refused_with_a_reason() {
        assert!(read_text(b"done!").unwrap_err().contains("not the JSON"));
        assert!(read_text(br#"{"summary": "done"}"#).unwrap_err().contains("no `verdict`"));
        assert!(read_text(br#"{"verdict": "maybe"}"#).unwrap_err().contains("no `verdict`"));
        assert!(read_text(b"[1]").unwrap_err().contains("no `verdict`"));
        assert!(read_text(&vec![b' '; 300_000]).unwrap_err().contains("larger"));
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("result.json");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(read(&link).unwrap_err().contains("could not be opened"));
        assert!(read(folder.path()).unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("theirs")).unwrap();
        std::fs::write(folder.path().join("theirs/result.json"), r#"{"verdict":"fix"}"#).unwrap();
        std::os::unix::fs::symlink("theirs", folder.path().join("out")).unwrap();
        assert!(read(&folder.path().join("out/result.json")).unwrap_err().contains("could not be opened"));
    }

    #[test]
    fn a_flaw_of_form_does_not_change_the_verdict() {
        for text in [
            "\u{FEFF}{\"verdict\": \"no_fix\"}",
            "```json\n{\"verdict\": \"no_fix\"}\n```\n",
            "```\n{\"verdict\": \"no_fix\"}",
            r#"{"verdict": "NO-FIX", "root_cause": null, "summary": 7, "tests": null}"#,
            r#"{"verdict": "No fix", "tests": "none", "more": {}}"#,
            "{\"verdict\" : \"no_fix\", \"summary\": \"two\nlines\"}",
            r#"{"verdict": "no_fix", "summary": "an "inner" word"}"#,
            r#"{"verdict": "no_fix", "summary": "cut o"#,
        ] {
            assert_eq!(read_text(text.as_bytes()).unwrap().unwrap().verdict, AgentVerdict::NoFix, "{text}");
        }
    }

    #[test]
    fn each_field_is_read_for_itself() {
        let text = br#"{"verdict": "fix", "root_cause": ["one", "two"], "summary": {}, "tests": "test_a"}"#;
        let handback = read_text(text).unwrap().unwrap();
        assert_eq!((handback.root_cause.as_str(), handback.summary.as_str()), ("one\ntwo", ""));
        assert_eq!(handback.tests, ["test_a"]);
        let broken = read_text(b"{\"verdict\": \"fix\",\n\"summary\": \"two\nlines\"}").unwrap().unwrap();
        assert_eq!(broken.summary, "two lines");
    }

    #[test]
    fn a_field_is_cut_on_a_character() {
        let long = serde_json::json!({"verdict": "fix", "root_cause": "ü".repeat(20_000)}).to_string();
        let handback = read_text(long.as_bytes()).unwrap().unwrap();
        assert_eq!(handback.root_cause.chars().count(), MOST_CHARS + 4);
    }

    #[test]
    fn a_field_never_ends_with_half_a_word() {
        let mut text = format!("{} ghp_0123456789", "a".repeat(MOST_CHARS - 8));
        cut(&mut text);
        assert!(text.ends_with("a […]"), "{}", &text[text.len() - 30..]);
    }
}
