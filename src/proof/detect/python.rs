//! pytest, Django's runner or unittest.
//!
//! Invariant: unittest only where it would find a test: it calls a run without one a success.

use super::look::Look;
use super::{Detected, found};

/// How deep below `tests` tests are looked for.
const LEVELS: usize = 3;
/// Most test files that are read.
const MOST_FILES: usize = 50;

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let configured = ["pytest.ini", "conftest.py", "tests/conftest.py"].iter().any(|name| look.has(name))
        || [("pyproject.toml", "[tool.pytest"), ("setup.cfg", "[tool:pytest]"), ("tox.ini", "[pytest]")]
            .iter()
            .any(|(name, section)| look.text(name).contains(section));
    let (folder, files) = [("tests", LEVELS), ("test", LEVELS), ("", 0)]
        .into_iter()
        .map(|(folder, levels)| (folder, test_files(look, folder, levels)))
        .find(|(_, files)| !files.is_empty())
        .unwrap_or_default();
    let is_django = look.text("manage.py").contains("django");
    if !configured && !is_django && files.is_empty() {
        return None;
    }
    if configured || names_pytest(look) {
        return found("pytest's configuration", None, "python3 -m pytest");
    }
    if is_django {
        return found("manage.py", None, "python3 manage.py test");
    }
    if !files.iter().take(MOST_FILES).any(|file| is_found_by_unittest(look, folder, file)) {
        return found("test files", None, "python3 -m pytest");
    }
    match folder {
        "" => found("test_*.py", None, "python3 -m unittest"),
        // A `tests` folder is searched with the project as its top, so that `from shop import …` works.
        folder if look.has(&format!("{folder}/__init__.py")) => {
            found("test_*.py in a package", None, &format!("python3 -m unittest discover -s {folder} -t ."))
        }
        folder => found("test_*.py", None, &format!("PYTHONPATH=. python3 -m unittest discover -s {folder}")),
    }
}

fn test_files(look: &Look<'_>, folder: &str, levels: usize) -> Vec<String> {
    let is_test = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.ends_with("_test.py") || name.starts_with("test_") && name.ends_with(".py")
    };
    look.files_below(folder, levels).into_iter().filter(is_test).collect()
}

fn names_pytest(look: &Look<'_>) -> bool {
    let requirements = look.names("").into_iter().filter(|name| {
        name.ends_with("requirements.txt") || { name.starts_with("requirements") && name.ends_with(".txt") }
    });
    let named = ["pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "Pipfile"].map(str::to_owned);
    requirements.chain(named).any(|name| look.text(&name).contains("pytest"))
}

/// Its own name pattern, in a folder that it enters, with a test in its own form.
fn is_found_by_unittest(look: &Look<'_>, top: &str, file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let enters = folder == top || look.has(&format!("{folder}/__init__.py"));
    let text = look.text(file);
    enters && name.starts_with("test") && text.contains("unittest") && text.contains("TestCase")
}
