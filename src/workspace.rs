//! The folder of one run: checkouts, HOME, TMPDIR, context and result.
//!
//! Invariant: everything a run writes is below one folder named after the job and its fencing number, so that two runs
//! never share one and what a crash left behind can be told from what is in use.

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, chmodat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::job::{JobId, Lease};

/// The folder of one run. Dropping it leaves the folder; [`remove_tree`] takes it away.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Makes the folder for a run, owner-only.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(work: &Path, lease: &Lease) -> io::Result<Self> {
        std::fs::create_dir_all(work)?;
        let work = work.canonicalize()?;
        put_strays_aside(&work)?;
        let root = work.join(folder_name(lease.job, lease.fence));
        remove_tree(&root)?;
        let workspace = Self { root };
        std::fs::DirBuilder::new().mode(0o700).create(&workspace.root)?;
        for part in ["related", "out"] {
            std::fs::create_dir(workspace.root.join(part))?;
        }
        Ok(workspace)
    }

    /// The places of a run, without making anything.
    #[must_use]
    pub fn at(work: &Path, lease: &Lease) -> Self {
        let work = std::path::absolute(work).unwrap_or_else(|_| work.to_owned());
        Self { root: work.join(folder_name(lease.job, lease.fence)) }
    }

    /// A new folder for what comes after the agent: many tools take settings from the folders above the one they work in
    /// (`pytest.ini`, `.cargo/config.toml`, `package.json`), and an agent could write to those. The old folder is
    /// removed, or put aside for people where it is to be kept.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn renew(work: &Path, lease: &Lease, keep: bool) -> io::Result<Self> {
        let root = work.join(folder_name(lease.job, lease.fence));
        let aside = work.join(folder_name(lease.job, lease.fence) + ASIDE);
        if keep && root.symlink_metadata().is_ok() {
            remove_tree(&aside)?;
            std::fs::rename(&root, &aside)?;
        }
        Self::create(work, lease)
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The checkout of the project's own repository, in which the agent works.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.root.join("repo")
    }

    /// The checkout of a related repository, `owner/name`.
    #[must_use]
    pub fn related(&self, repository: &str) -> PathBuf {
        // `owner` and `name` hold no `+`, so that no two repositories share a folder.
        self.root.join("related").join(repository.replace('/', "+"))
    }

    /// The folder for objects that are made on the way to a change of a repository.
    #[must_use]
    pub fn draft(&self, repository: &str) -> PathBuf {
        self.root.join("drafts").join(repository.replace('/', "+"))
    }

    /// A checkout for a run of the tests, before or after the change.
    #[must_use]
    pub fn bench(&self, repository: &str, when: &str) -> PathBuf {
        self.root.join(format!("tests-{when}")).join(repository.replace('/', "+"))
    }

    /// The read-only context folder.
    #[must_use]
    pub fn context(&self) -> PathBuf {
        self.root.join("context")
    }

    /// The prompt as a file.
    #[must_use]
    pub fn prompt_file(&self) -> PathBuf {
        self.root.join("prompt.md")
    }

    /// The agent's result file; its folder is there and writable.
    #[must_use]
    pub fn result_file(&self) -> PathBuf {
        self.root.join("out").join("result.json")
    }

    /// A fresh, empty HOME and TMPDIR for one command.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn home_and_tmp(&self, whose: &str) -> io::Result<(PathBuf, PathBuf)> {
        let home = self.root.join("homes").join(whose);
        let tmp = self.root.join("tmps").join(whose);
        for folder in [&home, &tmp] {
            remove_tree(folder)?;
            std::fs::create_dir_all(folder)?;
        }
        Ok((home, tmp))
    }
}

/// The end of the name of a folder that was put aside.
const ASIDE: &str = "-agent";

/// Anything but workspaces beside ours may have been left there by an agent, for tools to take settings from. It is put
/// where no tool looks, for people; one agent must not be able to stop all later jobs.
fn put_strays_aside(work: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(work)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).and_then(run_of_folder).is_none()
            && let Some(to) = put_aside(&path, &work.with_file_name("strays"))?
        {
            let (from, to) = (path.display().to_string(), to.display().to_string());
            // The name may be an agent's words.
            tracing::warn!(from = %from.escape_debug(), to, "put aside what no run of Patchwright has made; look at it");
        }
    }
    Ok(())
}

/// Moves something into a folder under the next free number; `None` where somebody else has.
fn put_aside(path: &Path, folder: &Path) -> io::Result<Option<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    for number in 1_u64.. {
        let to = folder.join(number.to_string());
        match renameat_with(CWD, path, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(to)),
            Err(Errno::NOENT) => break,
            Err(Errno::EXIST) => {}
            Err(error) => {
                let what = format!("{} cannot be put aside: {error}; look at it and remove it", path.display());
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    Ok(None)
}

/// The file in the data folder that names the database whose workspaces it holds.
pub const DATABASE_ID: &str = "database-id";

/// Whether a data folder belongs to this database; one that belongs to none yet does so from now on. Workspaces are named
/// after jobs, and of two databases each would take the other's for left behind.
///
/// # Errors
/// Where the folder cannot be read or written.
pub fn belongs_to(data_dir: &Path, database: &str) -> io::Result<bool> {
    let file = data_dir.join(DATABASE_ID);
    if !file.try_exists()? {
        std::fs::create_dir_all(data_dir)?;
        let mut new = tempfile::Builder::new().prefix(".database-id-").tempfile_in(data_dir)?;
        writeln!(new, "{database}")?;
        // Somebody else may have been faster: then that one's is the name.
        if let Err(refused) = new.persist_noclobber(&file)
            && refused.error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(refused.error);
        }
    }
    Ok(std::fs::read_to_string(&file)?.trim() == database)
}

/// The name of a run's folder.
#[must_use]
pub fn folder_name(job: JobId, fence: i64) -> String {
    format!("job-{job}-{fence}")
}

/// The run that a folder's name stands for.
#[must_use]
pub fn run_of_folder(name: &str) -> Option<(JobId, i64)> {
    let (job, fence) = name.strip_suffix(ASIDE).unwrap_or(name).strip_prefix("job-")?.split_once('-')?;
    Some((JobId(job.parse().ok()?), fence.parse().ok()?))
}

/// Removes a tree, whatever a command left in it: folders that are closed or nested deeper than any stack or path is
/// long. Links are not followed.
///
/// # Errors
/// Where something cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if !meta.is_dir() => return std::fs::remove_file(path),
        _ => {}
    }
    let root = open_folder(CWD, path)?;
    let mut fresh = 0_u64;
    // Folders are moved up to the root instead of being entered, so that depth costs neither stack nor open files.
    loop {
        let mut folders = Vec::new();
        each(&root, |name, is_folder| {
            if is_folder {
                folders.push(name.to_owned())
            } else {
                unlink(&root, name, AtFlags::empty())?
            }
            Ok(())
        })?;
        if folders.is_empty() {
            break;
        }
        for folder in folders {
            let inner = open_folder(&root, folder.as_c_str())?;
            each(&inner, |name, is_folder| {
                if is_folder {
                    move_up(&inner, name, &root, &mut fresh)
                } else {
                    unlink(&inner, name, AtFlags::empty())
                }
            })?;
            unlink(&root, &folder, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Opens a folder, never through a link, after it was opened up for us.
fn open_folder(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    // Best effort: what stays closed cannot be opened either, and that is reported.
    let _ = chmodat(&at, name, Mode::RWXU, AtFlags::empty());
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Calls `visit` with each name in a folder and whether it is a folder itself.
fn each(folder: &OwnedFd, mut visit: impl FnMut(&CStr, bool) -> Result<(), Errno>) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            visit(name, FileType::from_raw_mode(stat.st_mode).is_dir())?;
        }
    }
    Ok(())
}

fn move_up(from: &OwnedFd, name: &CStr, root: &OwnedFd, fresh: &mut u64) -> Result<(), Errno> {
    // A folder that is closed to writing cannot be moved, since its `..` changes.
    let _ = chmodat(from, name, Mode::RWXU, AtFlags::empty());
    loop {
        *fresh += 1;
        match renameat(from, name, root, format!(".removing-{fresh}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            moved => return moved,
        }
    }
}

fn unlink(folder: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    match unlinkat(folder, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_name_tells_its_run() {
        assert_eq!(run_of_folder(&folder_name(JobId(12), 3)), Some((JobId(12), 3)));
        assert_eq!(run_of_folder("job-12-3-agent"), Some((JobId(12), 3)));
        assert_eq!(run_of_folder("job-x-3"), None);
        assert_eq!(run_of_folder("something else"), None);
    }

    #[test]
    fn a_workspace_with_read_only_folders_can_be_removed() {
        let work = tempfile::tempdir().unwrap();
        let lease = Lease { job: JobId(1), fence: 1, owner: "w".into() };
        let workspace = Workspace::create(work.path(), &lease).unwrap();
        let closed = workspace.root().join("closed/inner");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(closed.join("file"), "x").unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(workspace.root()).unwrap();
        assert!(!workspace.root().exists());
    }

    #[test]
    fn what_an_agent_left_beside_the_workspaces_is_put_aside_and_nothing_is_lost() {
        let data = tempfile::tempdir().unwrap();
        let (work, strays) = (data.path().join("work"), data.path().join("strays"));
        std::fs::create_dir_all(work.join(".cargo")).unwrap();
        let lease = Lease { job: JobId(1), fence: 1, owner: "w".into() };
        Workspace::create(&work, &lease).unwrap();
        std::fs::write(work.join("pytest.ini"), "x").unwrap();
        Workspace::create(&work, &Lease { fence: 2, ..lease }).unwrap();
        let names = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut left = names(&work);
        left.sort();
        assert_eq!((left, names(&strays).len()), (vec!["job-1-1".to_owned(), "job-1-2".to_owned()], 2));
        assert_eq!(std::fs::read_to_string(strays.join("2")).unwrap(), "x");
    }

    #[test]
    fn a_data_folder_belongs_to_the_first_database_that_asks() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("new");
        assert!(belongs_to(&folder, "one").unwrap());
        assert!(!belongs_to(&folder, "other").unwrap());
        assert!(belongs_to(&folder, "one").unwrap());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn making_it_again_starts_empty() {
        let work = tempfile::tempdir().unwrap();
        let lease = Lease { job: JobId(1), fence: 1, owner: "w".into() };
        let first = Workspace::create(work.path(), &lease).unwrap();
        std::fs::write(first.root().join("litter"), "x").unwrap();
        let second = Workspace::create(work.path(), &lease).unwrap();
        assert!(!second.root().join("litter").exists());
    }
}
