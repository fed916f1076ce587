//! Finds the file of a program in the way that a shell would, but only in absolute folders.
//!
//! Invariant: the folder that a program works in never decides which program a bare name means.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{ProcessError, Program};

/// The file to execute for `program`: a name with a slash is taken relative to its folder, a bare name is looked up in
/// the absolute folders of the `PATH` that the program is given.
///
/// # Errors
/// `NotFound` or `NoSuchFile` where there is no such executable file; `NotStarted` where the program's folder is missing.
pub(super) fn find(program: &Program) -> Result<PathBuf, ProcessError> {
    let name = program.argv.first().map_or("", String::as_str);
    if !program.dir.is_dir() {
        let reason = format!("its folder {} does not exist", program.dir.display());
        let source = io::Error::new(io::ErrorKind::NotFound, reason);
        return Err(ProcessError::NotStarted { program: name.to_owned(), source });
    }
    let path = program.env.get("PATH").map_or("", String::as_str);
    find_program(name, &program.dir, path).ok_or_else(|| {
        let program_name = name.to_owned();
        match name.contains('/') {
            true => ProcessError::NoSuchFile { program: program_name, file: program.dir.join(name) },
            false => ProcessError::NotFound { program: program_name, path: path.to_owned() },
        }
    })
}

/// The executable file that `name` would mean for a program in the folder `dir`; see [`Program::argv`].
#[must_use]
pub fn find_program(name: &str, dir: &Path, path: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(dir.join(name)).filter(|file| is_executable(file));
    }
    // Empty and relative entries mean "the current folder", which a repository fills: `git` would be theirs.
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute() && !name.is_empty())
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with `bin/tool` (executable), `bin/notes` (not) and `tool` (executable, in the working folder).
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("bin/folder")).unwrap();
        for (name, mode) in [("bin/tool", 0o755), ("bin/notes", 0o644), ("tool", 0o755)] {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    fn find_in(folder: &Path, name: &str, path: &str) -> Result<PathBuf, ProcessError> {
        let env = [("PATH".to_owned(), path.replace("$DIR", folder.to_str().unwrap()))].into();
        find(&Program { argv: vec![name.to_owned()], dir: folder.to_owned(), env, stdin: Vec::new() })
    }

    #[test]
    fn a_bare_name_is_found_on_the_path_and_a_path_from_the_folder() {
        let folder = folder();
        let tool = folder.path().join("bin/tool");
        assert_eq!(find_in(folder.path(), "tool", "/nowhere:$DIR/bin").unwrap(), tool);
        assert_eq!(find_in(folder.path(), "bin/tool", "").unwrap(), tool);
        assert_eq!(find_in(folder.path(), tool.to_str().unwrap(), "").unwrap(), tool);
    }

    #[test]
    fn the_working_folder_is_never_searched_for_a_bare_name() {
        let folder = folder();
        for path in ["", ":", ".", ".:bin", "$DIR/bin/folder:"] {
            assert!(matches!(find_in(folder.path(), "tool", path), Err(ProcessError::NotFound { .. })), "{path:?}");
        }
    }

    #[test]
    fn what_cannot_be_executed_is_not_found() {
        let folder = folder();
        for name in ["notes", "folder", "absent", ""] {
            let error = find_in(folder.path(), name, "$DIR/bin").unwrap_err();
            assert!(matches!(&error, ProcessError::NotFound { program, .. } if program == name), "{name}: {error}");
        }
        for name in ["./absent", "bin/notes"] {
            let error = find_in(folder.path(), name, "$DIR/bin").unwrap_err();
            let looked_for = folder.path().join(name);
            let expected = format!(
                "the program `{name}` is not there as an executable file (looked for {})",
                looked_for.display()
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error() {
        let error = find_in(Path::new("/nowhere/at/all"), "sh", "/bin").unwrap_err().to_string();
        assert_eq!(error, "`sh` could not be started: its folder /nowhere/at/all does not exist");
    }
}
