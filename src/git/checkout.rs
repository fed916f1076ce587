//! Throw-away checkouts that borrow the objects of a mirror.
//!
//! Invariant: nothing that the repository's content names is run while files are written: no hook, no filter, no
//! monitor; every file has exactly the bytes of its object, links stay links, and no remote is configured.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

pub use super::submodules::Submodules;
use super::{Git, GitError, blocking, lfs, submodules};
use crate::forge::Remote;
use crate::git::mirror::Mirror;

/// The branch that a checkout is on.
pub const BRANCH: &str = "patchwright";

/// What a checkout fetches besides the files of the commit. Both need the remote.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Fetch the files that are kept in Git LFS; otherwise their pointer files stay.
    pub lfs: Option<Remote>,
    /// Fetch submodules of the same host, and theirs; otherwise their folders stay empty.
    pub submodules: Option<Submodules>,
}

/// Configuration of a checkout, for the agent that will work in it, which may commit on the way. We ourselves never read
/// it.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogAllRefUpdates = true
[gc]
\tauto = 0
[user]
\tname = Patchwright
\temail = patchwright@localhost
";

/// Has precedence over every `.gitattributes` of the repository: no filter, no conversion of line ends or encodings.
const ATTRIBUTES: &str = "* -text !eol !crlf !filter !ident !working-tree-encoding\n";

/// Writes the files of a commit into the new folder `dest`, a repository of its own on the branch [`BRANCH`], which
/// reads its history from the mirror.
///
/// # Errors
/// `NotFound` where the mirror does not have the commit. `Unsupported` where Git LFS is asked for and not installed, or
/// a submodule is not on the remote's host.
pub async fn checkout(git: &Git, mirror: &Mirror, commit: &str, dest: &Path, extras: &Extras) -> Result<(), GitError> {
    write_files(git, mirror, commit, dest).await?;
    if let Some(remote) = &extras.lfs {
        lfs::fill_in(git, mirror, commit, remote, dest).await?;
    }
    if let Some(from) = &extras.submodules {
        for submodule in submodules::fetch_all(git, mirror, commit, from).await? {
            write_files(git, &submodule.mirror, &submodule.commit, &dest.join(&submodule.path)).await?;
        }
    }
    Ok(())
}

/// A repository of its own with the files of a commit.
async fn write_files(git: &Git, mirror: &Mirror, commit: &str, dest: &Path) -> Result<(), GitError> {
    let Some(id) = mirror.resolve(commit).await?.filter(|_| commit.len() == 40) else {
        let what = format!("cannot check out {commit}: it is not a commit of {}; fetch first", mirror.id());
        return Err(GitError::NotFound { what });
    };
    let (objects, folder, doing) =
        (mirror.path().join("objects"), dest.to_path_buf(), format!("check out {}", mirror.id()));
    let what = doing.clone();
    let tags = tags(mirror).await?;
    blocking(move || create(&folder, &objects, &id, &tags).map_err(|error| GitError::while_doing(&what, error)))
        .await?;
    let args =
        ["--git-dir=.git", "--work-tree=.", "checkout", "--quiet", "--force", "--no-recurse-submodules", BRANCH, "--"];
    git.run(dest, &args, None, &[]).await?.succeeded(&doing).map_err(|error| error.in_mirror(mirror.path()))?;
    Ok(())
}

/// The mirror's tags as lines of `packed-refs`: builds ask `git describe` for their version.
async fn tags(mirror: &Mirror) -> Result<Vec<u8>, GitError> {
    let tags = mirror.read("list the tags", |repo| {
        let mut lines = Vec::new();
        for tag in repo.references_glob("refs/tags/*")? {
            let tag = tag?;
            if let Some(id) = tag.target() {
                lines.extend_from_slice(format!("{id} ").as_bytes());
                lines.extend_from_slice(tag.name_bytes());
                lines.push(b'\n');
            }
        }
        Ok(lines)
    });
    tags.await
}

/// Makes the `.git` folder by hand: no template, no remote, and of the mirror's refs only the tags.
fn create(dest: &Path, objects: &Path, commit: &str, tags: &[u8]) -> io::Result<()> {
    let objects = objects.to_str().filter(|path| !path.contains(['\n', '"'])).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the path of the mirror cannot be written into a repository")
    })?;
    let git_dir = dest.join(".git");
    // An empty folder may be there (a submodule's); anything in it is somebody else's.
    DirBuilder::new().recursive(true).mode(0o700).create(dest)?;
    if fs::read_dir(dest)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is not empty", dest.display())));
    }
    for folder in ["info", "objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        DirBuilder::new().recursive(true).mode(0o700).create(git_dir.join(folder))?;
    }
    fs::write(git_dir.join("objects/info/alternates"), format!("{objects}\n"))?;
    fs::write(git_dir.join("info/attributes"), ATTRIBUTES)?;
    fs::write(git_dir.join("config"), CONFIG)?;
    fs::write(git_dir.join("packed-refs"), tags)?;
    fs::write(git_dir.join("refs/heads").join(BRANCH), format!("{commit}\n"))?;
    fs::write(git_dir.join("HEAD"), format!("ref: refs/heads/{BRANCH}\n"))
}
