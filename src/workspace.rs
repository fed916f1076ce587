//! The folder of one run: checkouts, HOME, TMPDIR, context and result.
//!
//! Invariant: everything a run writes is below one folder named after the job and its fencing number, so that two runs
//! never share one and what a crash left behind can be told from what is in use.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::job::{JobId, Lease};

/// The folder of one run. Dropping it leaves the folder; [`Workspace::remove`] takes it away.
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
        let root = work.canonicalize()?.join(folder_name(lease.job, lease.fence));
        if root.exists() {
            remove_tree(&root)?;
        }
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
        Self { root: work.join(folder_name(lease.job, lease.fence)) }
    }

    /// The folder of a run as it is, or a new one where there is none.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create_or_reuse(work: &Path, lease: &Lease) -> io::Result<Self> {
        let root = work.join(folder_name(lease.job, lease.fence));
        match root.canonicalize() {
            Ok(root) => Ok(Self { root }),
            Err(_) => Self::create(work, lease),
        }
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
            if folder.exists() {
                remove_tree(folder)?;
            }
            std::fs::create_dir_all(folder)?;
        }
        Ok((home, tmp))
    }

    /// Takes the folder away, read-only parts too.
    ///
    /// # Errors
    /// Where something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.root)
    }
}

/// The name of a run's folder.
#[must_use]
pub fn folder_name(job: JobId, fence: i64) -> String {
    format!("job-{job}-{fence}")
}

/// The run that a folder's name stands for.
#[must_use]
pub fn run_of_folder(name: &str) -> Option<(JobId, i64)> {
    let (job, fence) = name.strip_prefix("job-")?.split_once('-')?;
    Some((JobId(job.parse().ok()?), fence.parse().ok()?))
}

/// Removes a tree; folders that a command made unreadable or unwritable are opened up first. Links are not followed.
///
/// # Errors
/// Where something cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => open_up(path),
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_up(folder: &Path) {
    // Best effort: what stays closed makes the removal fail, and that is reported.
    if let Ok(meta) = folder.symlink_metadata()
        && meta.is_dir()
    {
        let mut mode = meta.permissions();
        mode.set_mode(mode.mode() | 0o700);
        let _ = std::fs::set_permissions(folder, mode);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open_up(&entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_name_tells_its_run() {
        assert_eq!(run_of_folder(&folder_name(JobId(12), 3)), Some((JobId(12), 3)));
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
        workspace.remove().unwrap();
        assert!(!workspace.root().exists());
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
