//! Reads the JSON file that an agent may leave behind.
//!
//! Invariant: the file is hostile: it is opened without following links, read up to a limit, and every field is cut.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

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
/// A sentence that says what is wrong with the file.
pub fn read(path: &Path) -> Result<Option<Handback>, String> {
    let file = match rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
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
    let mut handback: Handback = serde_json::from_slice(&text)
        .map_err(|error| format!("the result file is not the JSON that was asked for: {error}"))?;
    cut(&mut handback.root_cause);
    cut(&mut handback.summary);
    handback.tests.truncate(50);
    handback.tests.iter_mut().for_each(cut);
    Ok(Some(handback))
}

fn cut(text: &mut String) {
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
        assert!(read_text(&vec![b' '; 300_000]).unwrap_err().contains("larger"));
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("result.json");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(read(&link).unwrap_err().contains("could not be opened"));
        assert!(read(folder.path()).unwrap_err().contains("not a regular file"));
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
