//! Makes a bare repository without `git`, and puts one back in order before `git` works on it.
//!
//! Invariant: afterwards the folder holds `HEAD`, `objects`, refs and a configuration of ours; everything else that git
//! would read there (hooks, alternates, attributes, grafts, work trees) is gone.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

/// The configuration of a mirror. The values besides `core.bare` keep libgit2, which reads the configuration of the
/// user that we run as, from taking anything from there.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tlogAllRefUpdates = false
\texcludesFile = /dev/null
\tattributesFile = /dev/null
\tautocrlf = false
\tignoreCase = false
\tprecomposeUnicode = false
\tprotectHFS = true
\tprotectNTFS = true
[diff]
\tnoprefix = false
\tmnemonicPrefix = false
\tcontext = 3
[gc]
\tauto = 0
";

/// A temporary file without a lock that has not changed for so long has lost its writer. libgit2 and we ourselves write
/// objects at any time, each in one go.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What a mirror may hold besides `objects` and `refs`.
const KEPT: [&str; 5] = ["HEAD", "config", "objects", "refs", "packed-refs"];

/// Makes an empty bare repository; may be called again on one that is half made.
pub(super) fn create(path: &Path) -> io::Result<()> {
    for folder in ["objects/pack", "refs/heads", "refs/tags", "refs/patchwright"] {
        DirBuilder::new().recursive(true).mode(0o700).create(path.join(folder))?;
    }
    write(path, "config", CONFIG)?;
    // HEAD last: with it the repository counts as made.
    write(path, "HEAD", "ref: refs/heads/main\n")
}

/// Puts a mirror back in order. Only under its lock.
pub(super) fn restore(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !KEPT.iter().any(|kept| entry.file_name() == *kept) {
            remove(&entry.path())?;
        }
    }
    // A folder that was replaced by a link would lead us out of the mirror.
    for folder in ["objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags", "refs/patchwright"] {
        let folder = path.join(folder);
        if fs::symlink_metadata(&folder).is_ok_and(|it| !it.is_dir()) {
            let what = format!("{} is not a folder; remove the mirror, it will be made again", folder.display());
            return Err(io::Error::other(what));
        }
    }
    remove(&path.join("objects/info"))?;
    create(path)?;
    let objects = path.join("objects");
    remove_leftovers(&objects, &|name, _| name.starts_with("incoming-") || name.starts_with("tmp_objdir"), false)?;
    remove_leftovers(&objects, &|name, old| old && (name.starts_with("tmp_") || name.starts_with(".tmp")), false)?;
    let of_packs = |name: &str, _| name.starts_with("tmp_") || name.ends_with(".lock");
    remove_leftovers(&objects.join("pack"), &of_packs, false)?;
    for refs in ["refs/heads", "refs/tags"] {
        remove_leftovers(&path.join(refs), &|name, _| name.ends_with(".lock"), true)?;
    }
    Ok(())
}

/// Makes a repository that was just restored read another one's objects too.
pub(super) fn borrow(path: &Path, objects: &Path) -> io::Result<()> {
    let line = objects.to_str().filter(|path| !path.contains(['\n', '"'])).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the path of the mirror cannot be written into a repository")
    })?;
    DirBuilder::new().recursive(true).mode(0o700).create(path.join("objects/info"))?;
    write(path, "objects/info/alternates", &format!("{line}\n"))
}

/// Removes entries of a folder by name and whether they are abandoned, in the folders below it too where asked.
fn remove_leftovers(folder: &Path, matches: &dyn Fn(&str, bool) -> bool, below: bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // Files come and go while we look.
        let Ok(metadata) = entry.metadata() else { continue };
        let is_folder = metadata.is_dir();
        let old = metadata.modified()?.elapsed().is_ok_and(|age| age > ABANDONED);
        if matches(&name.to_string_lossy(), old) {
            remove(&entry.path())?;
        } else if below && is_folder {
            remove_leftovers(&entry.path(), matches, below)?;
        }
    }
    Ok(())
}

/// Removes a file, a link or a whole folder; what is not there is fine.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Replaces a small file; never writes through a link that lies in its place.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    // Made below `objects`, since somebody who holds the lock clears the mirror's own folder.
    let mut file = tempfile::NamedTempFile::new_in(folder.join("objects"))?;
    file.write_all(text.as_bytes())?;
    file.persist(folder.join(name)).map(drop).map_err(|error| error.error)
}
