//! Walks a folder that an agent has written to, one directory descriptor at a time.
//!
//! Invariant: nothing outside the folder is ever opened: each name is opened relative to its parent's descriptor and
//! never through a link; nothing but regular files is opened for reading, and each is looked at before it is read.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

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

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stopped<E> {
    /// The visitor ended it.
    ByVisitor(E),
    /// A path could not be looked at.
    At { path: Vec<u8>, why: String },
}

/// Visits everything below `root`, a folder before what is in it; in each folder `.gitignore` first, then by name.
pub(super) fn walk<E>(root: &Path, visit: &mut dyn FnMut(&Entry<'_>) -> Result<Descend, E>) -> Result<(), Stopped<E>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(root, flags, Mode::empty()) {
        Ok(folder) => walk_folder(&folder, &[], 0, visit),
        Err(error) => Err(Stopped::At { path: b".".to_vec(), why: format!("cannot be opened: {error}") }),
    }
}

fn walk_folder<E>(
    folder: &OwnedFd,
    prefix: &[u8],
    depth: usize,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<Descend, E>,
) -> Result<(), Stopped<E>> {
    let stop = |path: &[u8], why: String| Stopped::At { path: path.to_vec(), why };
    if depth > MAX_DEPTH {
        return Err(stop(prefix, format!("is nested more than {MAX_DEPTH} folders deep")));
    }
    for name in names(folder).map_err(|error| stop(prefix, format!("cannot be read: {error}")))? {
        let path = if prefix.is_empty() { name.to_bytes().to_vec() } else { [prefix, b"/", name.to_bytes()].concat() };
        if path.len() > MAX_PATH {
            return Err(stop(&path, format!("has a path of more than {MAX_PATH} bytes")));
        }
        let kind = kind_of(folder, &name).map_err(|error| stop(&path, format!("cannot be looked at: {error}")))?;
        let entry = Entry { parent: folder, name, path, kind };
        if visit(&entry).map_err(Stopped::ByVisitor)? == Descend::Into && kind == Kind::Folder {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = openat(folder, &entry.name, flags, Mode::empty())
                .map_err(|error| stop(&entry.path, format!("cannot be opened: {error}")))?;
            walk_folder(&below, &entry.path, depth + 1, visit)?;
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

    /// Where the link points to.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(readlinkat(self.parent.as_fd(), &self.name, Vec::new())?.into_bytes())
    }

    /// Whether this folder holds something of that name.
    pub(super) fn holds(&self, name: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.parent, &self.name, flags, Mode::empty())
            .is_ok_and(|folder| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }
}

/// Bytes as a path.
pub(super) fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
