//! Walks a folder that an agent has written to, one directory descriptor at a time.
//!
//! Invariant: nothing outside the folder is ever opened: each name is opened relative to its parent's descriptor and
//! never through a link; nothing but regular files is opened for reading, and each is looked at before it is read.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};

/// Deepest folder that is looked at.
const MAX_DEPTH: usize = 100;
/// Longest path; Linux' own limit, which later steps would hit.
const MAX_PATH: usize = 4000;

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Folder,
    File {
        size: u64,
        executable: bool,
    },
    Link,
    /// A FIFO, socket or device: the word for it.
    Special(&'static str),
}

/// One entry of a folder, not yet opened.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    parent: &'a OwnedFd,
    name: CString,
    /// Path from the root of the work tree.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
}

/// What to do with a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Descend {
    Into,
    Past,
}

/// What a walk comes across: an entry, or a path that cannot be looked at and the rest of a sentence that says why.
pub(super) type Seen<'a> = Result<&'a Entry<'a>, (&'a [u8], String)>;

/// What looks at it. An error ends the walk.
pub(super) type Visit<'a, E> = dyn FnMut(Seen<'_>) -> Result<Descend, E> + 'a;

/// Visits everything below `root`, a folder before what is in it; in each folder `.gitignore` first, then by name.
pub(super) fn walk<E>(root: &Path, visit: &mut Visit<'_, E>) -> Result<(), E> {
    match rustix::fs::open(root, FOLDER, Mode::empty()) {
        Ok(folder) => walk_folder(&folder, &[], 0, visit),
        Err(error) => visit(Err((b".", format!("cannot be opened: {error}")))).map(drop),
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn walk_folder<E>(folder: &OwnedFd, prefix: &[u8], depth: usize, visit: &mut Visit<'_, E>) -> Result<(), E> {
    if depth > MAX_DEPTH {
        return visit(Err((prefix, format!("is nested more than {MAX_DEPTH} folders deep")))).map(drop);
    }
    let names = match names(folder) {
        Ok(names) => names,
        Err(error) => return visit(Err((prefix, format!("cannot be read: {error}")))).map(drop),
    };
    for name in names {
        let path = if prefix.is_empty() { name.to_bytes().to_vec() } else { [prefix, b"/", name.to_bytes()].concat() };
        if path.len() > MAX_PATH {
            visit(Err((&path, format!("has a path of more than {MAX_PATH} bytes"))))?;
            continue;
        }
        let kind = match kind_of(folder, &name) {
            Ok(kind) => kind,
            Err(error) => {
                visit(Err((&path, format!("cannot be looked at: {error}"))))?;
                continue;
            }
        };
        let entry = Entry { parent: folder, name, path, kind };
        if visit(Ok(&entry))? == Descend::Into && kind == Kind::Folder {
            match openat(folder, &entry.name, FOLDER, Mode::empty()) {
                Ok(below) => walk_folder(&below, &entry.path, depth + 1, visit)?,
                Err(error) => drop(visit(Err((&entry.path, format!("cannot be opened: {error}"))))?),
            }
        }
    }
    Ok(())
}

fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    // The rules of a folder come before everything that they judge.
    names.sort_unstable_by(|a, b| (a.as_bytes() != b".gitignore", a).cmp(&(b.as_bytes() != b".gitignore", b)));
    Ok(names)
}

fn kind_of(folder: &OwnedFd, name: &CString) -> rustix::io::Result<Kind> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => {
            Kind::File { size: u64::try_from(stat.st_size).unwrap_or(u64::MAX), executable: stat.st_mode & 0o100 != 0 }
        }
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Special("FIFO"),
        FileType::Socket => Kind::Special("socket"),
        _ => Kind::Special("device"),
    })
}

impl Entry<'_> {
    /// The last component of its path.
    pub(super) fn name(&self) -> &[u8] {
        self.name.to_bytes()
    }

    /// Opens it, if it still is a regular file.
    pub(super) fn open(&self) -> io::Result<File> {
        // NONBLOCK: where it became a FIFO in the meantime, opening must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(self.parent.as_fd(), &self.name, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file any more")) }
    }

    /// Its content, if it is not more than `limit` bytes.
    pub(super) fn read(&self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        self.open()?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= limit).then_some(content))
    }

    /// The id that its content would have as an object. Read in pieces, since a file may be larger than memory.
    pub(super) fn hash(&self) -> io::Result<Oid> {
        let file = self.open()?;
        Oid::hash_file(ObjectType::Blob, format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io::Error::other)
    }

    /// Where the link points to.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(readlinkat(self.parent.as_fd(), &self.name, Vec::new())?.into_bytes())
    }

    /// Whether this folder holds something of that name.
    pub(super) fn holds(&self, name: &str) -> bool {
        openat(self.parent, &self.name, FOLDER, Mode::empty())
            .is_ok_and(|folder| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }
}

/// Bytes as a path.
pub(super) fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
