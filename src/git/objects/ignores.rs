//! The ignore rules of a work tree.
//!
//! Invariant: libgit2, which evaluates the rules, never opens a file of the agent's: a `.gitignore` may be a FIFO, a link
//! or a terabyte of holes.

use std::fs;
use std::io;
use std::path::Path;

use git2::Repository;
use tempfile::TempDir;

use super::work_tree::{Entry, Kind, as_path};

/// Largest `.gitignore` that has an effect.
const MAX_IGNORE_FILE: u64 = 1 << 20;

/// Copies of the `.gitignore` files of a work tree in a private folder that holds nothing else.
pub(super) struct Ignores<'repo> {
    repo: &'repo Repository,
    folder: TempDir,
}

impl<'repo> Ignores<'repo> {
    /// No rules yet. Makes `repo`, which was opened for this alone, look at a private folder in `place`.
    pub(super) fn new(repo: &'repo Repository, place: &Path) -> Result<Self, String> {
        let folder = TempDir::new_in(place).map_err(|error| error.to_string())?;
        repo.set_workdir(folder.path(), false).map_err(|error| error.to_string())?;
        Ok(Self { repo, folder })
    }

    /// Takes over the rules of a `.gitignore`; one that is no regular file, cannot be read or is huge has no effect.
    pub(super) fn learn(&self, entry: &Entry<'_>) -> io::Result<()> {
        let Some(rules) = entry.read(MAX_IGNORE_FILE).ok().flatten() else { return Ok(()) };
        let copy = self.folder.path().join(as_path(&entry.path));
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(copy, keep_negations(&rules))
    }

    /// Whether the rules leave out the entry.
    pub(super) fn matches(&self, entry: &Entry<'_>) -> Result<bool, git2::Error> {
        let mut path = entry.path.clone();
        if entry.kind == Kind::Folder {
            path.push(b'/');
        }
        self.repo.is_path_ignored(as_path(&path))
    }
}

/// Makes negations effective. libgit2 throws `!name` away where the same file does not ignore `name` before, although
/// a file further up may do so; it does not where the pattern has a wildcard (`ignore.c`, `parse_ignore_file`). So
/// `!name` becomes `![n]ame`, which means the same.
fn keep_negations(rules: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(rules.len() + 64);
    for line in rules.split_inclusive(|byte| *byte == b'\n') {
        let plain = line.starts_with(b"!") && !line.iter().any(|byte| b"*?[\\".contains(byte));
        let letter = line.iter().position(u8::is_ascii_alphanumeric);
        match letter.filter(|_| plain).and_then(|at| Some((line.get(..at)?, line.get(at)?, line.get(at + 1..)?))) {
            Some((before, letter, after)) => {
                kept.extend_from_slice(&[before, b"[", &[*letter], b"]", after].concat());
            }
            None => kept.extend_from_slice(line),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_negations_are_rewritten() {
        let rules = b"*.log\n!keep.log\r\n!*.txt\n#!x\n!/a/b";
        assert_eq!(keep_negations(rules), b"*.log\n![k]eep.log\r\n!*.txt\n#!x\n!/[a]/b");
    }
}
