//! Pointer files of Git LFS: what the repository holds where the content is elsewhere.
//!
//! Invariant: a file counts as unchanged only where size and SHA-256 are those of its pointer.

use std::io::{self, Read as _};

use git2::{Oid, Repository};
use sha2::{Digest as _, Sha256};

/// Longest pointer file (git-lfs `docs/spec.md`: "less than 1024 bytes").
const MAX_POINTER: usize = 1024;

/// A pointer file, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::git) struct Pointer {
    sha256: String,
    size: u64,
}

impl Pointer {
    /// The pointer that an object is, if it is one.
    pub(in crate::git) fn at(repo: &Repository, id: Oid) -> Option<Self> {
        let (size, _) = repo.odb().ok()?.read_header(id).ok()?;
        if size > MAX_POINTER {
            return None;
        }
        Self::parse(str::from_utf8(repo.find_blob(id).ok()?.content()).ok()?)
    }

    /// SHA-256 of the content, in 64 hexadecimal digits.
    pub(in crate::git) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Reads a pointer file; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == "version https://git-lfs.github.com/spec/v1")?;
        let (mut sha256, mut size) = (None, None);
        for line in lines {
            match line.split_once(' ')? {
                ("oid", oid) => sha256 = Some(oid.strip_prefix("sha256:")?.to_owned()),
                ("size", number) => size = number.parse().ok(),
                _ => {}
            }
        }
        // It becomes a part of a path.
        let sha256 = sha256.filter(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        Some(Self { sha256, size: size? })
    }

    /// Whether this is the content that the pointer stands for.
    pub(in crate::git) fn is_of(&self, size: u64, content: impl io::Read) -> io::Result<bool> {
        if size != self.size {
            return Ok(false);
        }
        let mut hash = Sha256::new();
        let (mut content, mut buffer) = (content.take(size), vec![0; 64 << 10]);
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(hex::encode(hash.finalize()) == self.sha256),
                n => hash.update(buffer.get(..n).unwrap_or_default()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_stands_for_one_content() {
        let oid = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n");
        let pointer = Pointer::parse(&text).unwrap();
        assert!(pointer.is_of(5, &b"hello"[..]).unwrap());
        assert!(!pointer.is_of(5, &b"hallo"[..]).unwrap());
        assert_eq!(Pointer::parse("hello\n"), None);
        assert_eq!(Pointer::parse(&text.replace(oid, "../../../../etc/passwd")), None);
    }
}
