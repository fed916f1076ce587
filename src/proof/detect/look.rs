//! Looks at the files of a clean checkout.
//!
//! Invariant: only regular files are read, no link is followed, and nothing above the checkout is looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of a project in a checkout.
pub(super) struct Look<'a> {
    checkout: &'a Path,
    folder: PathBuf,
}

impl<'a> Look<'a> {
    pub(super) fn new(checkout: &'a Path, path: &Path) -> Self {
        Self { checkout, folder: checkout.join(path) }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        is_file(&self.folder.join(name))
    }

    pub(super) fn has_folder(&self, name: &str) -> bool {
        self.folder.join(name).symlink_metadata().is_ok_and(|meta| meta.is_dir())
    }

    /// The text of a regular file of at most 1 MiB, else nothing.
    pub(super) fn text(&self, name: &str) -> String {
        let path = self.folder.join(name);
        let fits = path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= 1 << 20);
        if fits { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() }
    }

    /// As [`Look::text`], of a file at the top of the checkout.
    pub(super) fn text_at_top(&self, name: &str) -> String {
        Self::new(self.checkout, Path::new("")).text(name)
    }

    /// Names of the entries of a folder, in order.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The regular files in a folder and, so many levels deep, in the folders in it. Only paths that mean nothing to a
    /// shell.
    pub(super) fn files_below(&self, folder: &str, levels: usize) -> Vec<String> {
        if !(folder.is_empty() || self.has_folder(folder)) {
            return Vec::new();
        }
        let plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let mut files = Vec::new();
        for name in self.names(folder).into_iter().filter(plain) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if self.has(&path) {
                files.push(path);
            } else if levels > 0 && self.has_folder(&path) {
                files.extend(self.files_below(&path, levels - 1));
            }
        }
        files
    }

    /// The way to the nearest folder that has this file, from this one up to the top of the checkout: nothing, `../`,
    /// `../../` and so on.
    pub(super) fn way_up(&self, name: &str) -> Option<String> {
        let folders = self.folder.ancestors().take_while(|folder| folder.starts_with(self.checkout));
        folders.enumerate().find(|(_, folder)| is_file(&folder.join(name))).map(|(steps, _)| "../".repeat(steps))
    }

    /// How to start the nearest program of this name, as a part of a shell line. Some repositories keep it without the
    /// right to be executed.
    pub(super) fn program_above(&self, name: &str) -> Option<String> {
        let way = self.way_up(name)?;
        let meta = self.folder.join(&way).join(name).metadata().ok()?;
        let runs = meta.permissions().mode() & 0o100 != 0;
        let here = if way.is_empty() { "./" } else { "" };
        Some(format!("{}{here}{way}{name}", if runs { "" } else { "sh " }))
    }
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file())
}
