//! Measures how much disk a folder really takes.
//!
//! Invariant: no symbolic link is followed and no file is opened, so a hostile tree can make us count only itself.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Stop;
use crate::limits::Size;

/// The shortest pause between two walks of a folder.
const PAUSE: Duration = Duration::from_secs(1);
/// A walk may take at most a tenth of the time, however large the folder is.
const PAUSE_PER_WALK: u32 = 9;
/// Folders within folders that are looked into; each takes a file descriptor. Deeper than any real source tree.
const DEEPEST: usize = 256;

/// Waits until `folder` holds more than `limit`; never returns before.
pub(super) async fn outgrown(folder: PathBuf, limit: Size) -> Stop {
    // A walk runs on its own thread and would go on after this future was dropped.
    let abandoned = CancellationToken::new();
    let _abandon = abandoned.clone().drop_guard();
    let mut pause = PAUSE;
    loop {
        sleep(pause).await;
        let (folder, abandoned) = (folder.clone(), abandoned.clone());
        let start = Instant::now();
        let walk = tokio::task::spawn_blocking(move || allocated(&folder, limit.0, &abandoned));
        if walk.await.is_ok_and(|bytes| bytes > limit.0) {
            return Stop::Disk(limit);
        }
        pause = PAUSE.max(start.elapsed() * PAUSE_PER_WALK);
    }
}

/// The bytes of all blocks under `folder`; holes in files count nothing, a file with two names counts once. The walk ends
/// early once it has seen more than `enough`. What is too deep to be measured counts as more than any limit.
fn allocated(folder: &Path, enough: u64, abandoned: &CancellationToken) -> u64 {
    let mut walk = Walk { bytes: 0, enough, linked: BTreeSet::new(), abandoned };
    if let Some(folder) = open(CWD, folder) {
        walk.enter(&folder, 0);
    }
    walk.bytes
}

struct Walk<'a> {
    bytes: u64,
    enough: u64,
    /// Device and number of the files with several names that were counted.
    linked: BTreeSet<(u64, u64)>,
    abandoned: &'a CancellationToken,
}

impl Walk<'_> {
    /// Adds what is in one folder. What cannot be looked at, or is gone by then, counts nothing.
    fn enter(&mut self, folder: &OwnedFd, depth: usize) {
        if depth > DEEPEST {
            self.bytes = u64::MAX;
        }
        let Ok(entries) = Dir::read_from(folder) else { return };
        for entry in entries.flatten() {
            if self.bytes > self.enough || self.abandoned.is_cancelled() {
                return;
            }
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if stat.st_nlink > 1
                && !FileType::from_raw_mode(stat.st_mode).is_dir()
                && !self.linked.insert((stat.st_dev, stat.st_ino))
            {
                continue;
            }
            // `st_blocks` counts units of 512 bytes whatever the file system's block size is (stat(3type)).
            self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            if FileType::from_raw_mode(stat.st_mode).is_dir()
                && let Some(inner) = open(folder, name)
            {
                self.enter(&inner, depth + 1);
            }
        }
    }
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    fn measure(folder: &Path) -> u64 {
        allocated(folder, u64::MAX - 1, &CancellationToken::new())
    }

    #[test]
    fn written_bytes_count_in_every_depth_and_holes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        let before = measure(folder.path());
        File::create(folder.path().join("a/hole")).unwrap().set_len(1 << 40).unwrap();
        assert!(measure(folder.path()) < before + (1 << 20));
        fs::write(folder.path().join("a/b/c/data"), vec![1; 3 << 20]).unwrap();
        let after = measure(folder.path());
        assert!((3 << 20..4 << 20).contains(&(after - before)), "{before} {after}");
    }

    #[test]
    fn a_second_name_of_a_file_counts_nothing_and_links_lead_nowhere() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("big"), vec![1; 2 << 20]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one"), vec![1; 1 << 20]).unwrap();
        let before = measure(folder.path());
        fs::hard_link(folder.path().join("one"), folder.path().join("two")).unwrap();
        symlink(elsewhere.path(), folder.path().join("away")).unwrap();
        symlink(".", folder.path().join("round")).unwrap();
        assert!(measure(folder.path()) < before + (64 << 10));
    }

    #[test]
    fn a_tree_too_deep_to_measure_is_over_every_limit() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("d/".repeat(DEEPEST + 2))).unwrap();
        assert_eq!(measure(folder.path()), u64::MAX);
    }

    #[test]
    fn a_missing_folder_holds_nothing() {
        assert_eq!(measure(Path::new("/nowhere/at/all")), 0);
    }
}
