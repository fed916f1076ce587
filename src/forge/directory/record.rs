//! The files of the pull requests of one repository.
//!
//! Invariant: a file is replaced in one step and is on disk before the call returns; one that cannot be read is an
//! error and not an absence, because an absence would open a second pull request.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::forge::{ForgeError, PullRequestState};

/// Most bytes of a record that are read.
const LARGEST: u64 = 1 << 20;
/// Readable by everyone who may enter the folder, as the repositories are; the process's umask narrows it.
const MODE: u32 = 0o644;

/// `N.json`: what a person may read and edit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) state: PullRequestState,
    pub(super) draft: bool,
    pub(super) title: String,
    pub(super) branch: String,
    pub(super) base: String,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    #[serde(default)]
    pub(super) reviewers: Vec<String>,
    pub(super) opened: Moment,
}

/// The folder `name.pulls`.
#[derive(Debug)]
pub(super) struct Pulls {
    dir: PathBuf,
}

/// The right to change records, held until it is dropped; the system takes it from a process that dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Pulls {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Waits until no other process or thread changes records here.
    pub(super) fn lock(&self) -> Result<Lock, ForgeError> {
        fs::create_dir_all(&self.dir).map_err(|error| failed("make", &self.dir, &error))?;
        let path = self.dir.join(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        file.lock().map_err(|error| failed("lock", &path, &error))?;
        Ok(Lock { _file: file })
    }

    /// All records, in no order.
    pub(super) fn all(&self) -> Result<Vec<Record>, ForgeError> {
        self.numbers("json")?.into_iter().map(|number| self.get(number)).collect()
    }

    /// One record.
    pub(super) fn get(&self, number: u64) -> Result<Record, ForgeError> {
        let path = self.dir.join(format!("{number}.json"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ForgeError::NotFound {
                    what: format!("there is no pull request {number}: {} does not exist", path.display()),
                });
            }
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).map_err(|error| failed("read", &path, &error))?;
        let unsound = |why: &str| ForgeError::Refused {
            what: format!(
                "{} is not the record of a pull request ({why}); mend the file, or move it away together with its .md",
                path.display()
            ),
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| unsound(&error.to_string()))?;
        if record.number == number { Ok(record) } else { Err(unsound("its number is not that of its name")) }
    }

    /// Writes a record; only under the [`Lock`].
    pub(super) fn write(&self, record: &Record) -> Result<(), ForgeError> {
        let name = format!("{}.json", record.number);
        let mut text = serde_json::to_vec_pretty(record)
            .map_err(|error| ForgeError::Refused { what: format!("cannot write {name} as JSON: {error}") })?;
        text.push(b'\n');
        self.replace(&name, &text)
    }

    /// Writes a body; only under the [`Lock`].
    pub(super) fn write_body(&self, number: u64, body: &str) -> Result<(), ForgeError> {
        self.replace(&format!("{number}.md"), body.as_bytes())
    }

    /// Where a body is.
    pub(super) fn body_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.md"))
    }

    /// The highest number that a file has had, also one that was left behind by a crash.
    pub(super) fn highest_number(&self) -> Result<u64, ForgeError> {
        Ok(self.numbers("json")?.into_iter().chain(self.numbers("md")?).max().unwrap_or(0))
    }

    fn numbers(&self, extension: &str) -> Result<Vec<u64>, ForgeError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.dir, &error)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| failed("list", &self.dir, &error))?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(extension)?.strip_suffix('.'));
            // `07.json` is not a file of ours.
            let number = stem.and_then(|stem| stem.parse::<u64>().ok().filter(|number| number.to_string() == stem));
            numbers.extend(number);
        }
        Ok(numbers)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ForgeError> {
        let path = self.dir.join(name);
        let write = || {
            let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(&self.dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| failed("write", &path, &error))
    }
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> ForgeError {
    let what = format!("cannot {verb} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ForgeError::Forbidden { what: format!("{what}; give this user the right to") }
        }
        _ => ForgeError::Unavailable { what },
    }
}
