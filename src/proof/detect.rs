//! Finds the test command of a repository that does not say it.
//!
//! Invariant: only a clean checkout is looked at, only regular files are read, and what was looked for is told.

use std::path::Path;

use crate::config::CommandLine;

/// A test command that was found, and a setup command where the ecosystem needs one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detected {
    /// What gave it away, such as `package.json`.
    pub because: &'static str,
    /// Prepares the checkout.
    pub setup: Option<CommandLine>,
    /// Runs the tests.
    pub test: CommandLine,
}

/// Where we look, for the sentence that says that nothing was found.
pub const LOOKED_FOR: &str = "pytest or unittest, npm, pnpm or yarn, cargo, go, maven, gradle, rspec, phpunit, dotnet, a Makefile with a \
     `test` target";

/// Looks for the test command of the project in this folder.
#[must_use]
pub fn detect(folder: &Path) -> Option<Detected> {
    let look = Look { folder };
    cargo(&look)
        .or_else(|| go(&look))
        .or_else(|| node(&look))
        .or_else(|| java(&look))
        .or_else(|| ruby(&look))
        .or_else(|| php(&look))
        .or_else(|| dotnet(&look))
        .or_else(|| python(&look))
        .or_else(|| make(&look))
}

struct Look<'a> {
    folder: &'a Path,
}

impl Look<'_> {
    fn has(&self, name: &str) -> bool {
        self.folder.join(name).symlink_metadata().is_ok_and(|meta| meta.is_file())
    }

    fn has_folder(&self, name: &str) -> bool {
        self.folder.join(name).symlink_metadata().is_ok_and(|meta| meta.is_dir())
    }

    /// The text of a regular file of at most 1 MiB, else nothing.
    fn text(&self, name: &str) -> String {
        let path = self.folder.join(name);
        let fits = path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= 1 << 20);
        if fits { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() }
    }

    /// Names of the entries of a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

fn found(because: &'static str, setup: Option<&str>, test: &str) -> Option<Detected> {
    let shell = |line: &str| CommandLine::Shell(line.to_owned());
    Some(Detected { because, setup: setup.map(shell), test: shell(test) })
}

fn cargo(look: &Look<'_>) -> Option<Detected> {
    look.has("Cargo.toml").then(|| found("Cargo.toml", None, "cargo test")).flatten()
}

fn go(look: &Look<'_>) -> Option<Detected> {
    look.has("go.mod").then(|| found("go.mod", None, "go test ./...")).flatten()
}

fn node(look: &Look<'_>) -> Option<Detected> {
    let package: serde_json::Value = serde_json::from_str(&look.text("package.json")).ok()?;
    let script = package.pointer("/scripts/test")?.as_str()?;
    // What `npm init` writes when there are no tests.
    if script.contains("no test specified") {
        return None;
    }
    if look.has("pnpm-lock.yaml") {
        return found("package.json and pnpm-lock.yaml", Some("pnpm install --frozen-lockfile"), "pnpm test");
    }
    if look.has("yarn.lock") {
        return found("package.json and yarn.lock", Some("yarn install --frozen-lockfile"), "yarn test");
    }
    let has_dependencies = ["dependencies", "devDependencies"]
        .iter()
        .any(|key| package.get(key).and_then(serde_json::Value::as_object).is_some_and(|map| !map.is_empty()));
    let setup = match (look.has("package-lock.json"), has_dependencies) {
        (true, _) => Some("npm ci"),
        (false, true) => Some("npm install --no-audit --no-fund --no-package-lock"),
        (false, false) => None,
    };
    found("package.json", setup, "npm test")
}

fn java(look: &Look<'_>) -> Option<Detected> {
    if look.has("pom.xml") {
        let maven = if look.has("mvnw") { "./mvnw --batch-mode test" } else { "mvn --batch-mode test" };
        return found("pom.xml", None, maven);
    }
    if look.has("build.gradle") || look.has("build.gradle.kts") {
        let gradle = if look.has("gradlew") { "./gradlew --no-daemon test" } else { "gradle --no-daemon test" };
        return found("build.gradle", None, gradle);
    }
    None
}

fn ruby(look: &Look<'_>) -> Option<Detected> {
    if !(look.has(".rspec") || look.has_folder("spec") && look.text("Gemfile").contains("rspec")) {
        return None;
    }
    if look.has("Gemfile") {
        found("Gemfile and spec/", Some("bundle install"), "bundle exec rspec")
    } else {
        found(".rspec", None, "rspec")
    }
}

fn php(look: &Look<'_>) -> Option<Detected> {
    if !(look.has("phpunit.xml") || look.has("phpunit.xml.dist")) {
        return None;
    }
    if look.has("composer.json") {
        found("phpunit.xml", Some("composer install --no-interaction --no-progress"), "vendor/bin/phpunit")
    } else {
        found("phpunit.xml", None, "phpunit")
    }
}

fn dotnet(look: &Look<'_>) -> Option<Detected> {
    let project = |name: &String| name.ends_with(".sln") || name.ends_with(".slnx") || name.ends_with(".csproj");
    look.names("").iter().any(project).then(|| found("a .sln or .csproj file", None, "dotnet test")).flatten()
}

fn python(look: &Look<'_>) -> Option<Detected> {
    let configured = look.has("pytest.ini")
        || look.text("pyproject.toml").contains("[tool.pytest")
        || look.text("setup.cfg").contains("[tool:pytest]")
        || look.text("tox.ini").contains("[pytest]")
        || look.has("conftest.py")
        || look.has("tests/conftest.py");
    let test_file = |name: &&String| name.starts_with("test_") && name.ends_with(".py");
    let folder =
        ["tests", "test", ""].into_iter().find(|folder| look.names(folder).iter().any(|name| test_file(&name)));
    if !configured && folder.is_none() {
        return None;
    }
    let uses_pytest = configured
        || ["requirements.txt", "requirements-dev.txt", "dev-requirements.txt", "pyproject.toml", "Pipfile"]
            .iter()
            .any(|name| look.text(name).contains("pytest"));
    if uses_pytest {
        return found("pytest's configuration", None, "python3 -m pytest");
    }
    match folder? {
        "" => found("test_*.py", None, "python3 -m unittest"),
        // A `tests` folder is searched with the project as its top, so that `from shop import …` works.
        folder if look.has(&format!("{folder}/__init__.py")) => {
            found("test_*.py in a package", None, &format!("python3 -m unittest discover -s {folder} -t ."))
        }
        folder => found("test_*.py", None, &format!("PYTHONPATH=. python3 -m unittest discover -s {folder}")),
    }
}

fn make(look: &Look<'_>) -> Option<Detected> {
    let target = |line: &str| ["test:", "check:"].into_iter().find(|target| line.starts_with(target));
    let target = look.text("Makefile").lines().find_map(target)?;
    found("Makefile", None, if target == "test:" { "make test" } else { "make check" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(files: &[(&str, &str)]) -> Option<(Option<String>, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        detect(folder.path()).map(|found| (found.setup.map(|s| s.shown()), found.test.shown()))
    }

    type Files = &'static [(&'static str, &'static str)];

    #[test]
    fn each_common_ecosystem_is_recognised() {
        let table: [(Files, Option<&str>, &str); 16] = [
            (&[("Cargo.toml", "")], None, "cargo test"),
            (&[("go.mod", "")], None, "go test ./..."),
            (&[("package.json", r#"{"scripts":{"test":"node --test"}}"#)], None, "npm test"),
            (
                &[("package.json", r#"{"scripts":{"test":"jest"}}"#), ("package-lock.json", "")],
                Some("npm ci"),
                "npm test",
            ),
            (
                &[("package.json", r#"{"scripts":{"test":"x"}}"#), ("pnpm-lock.yaml", "")],
                Some("pnpm install --frozen-lockfile"),
                "pnpm test",
            ),
            (
                &[("package.json", r#"{"scripts":{"test":"x"}}"#), ("yarn.lock", "")],
                Some("yarn install --frozen-lockfile"),
                "yarn test",
            ),
            (&[("pom.xml", ""), ("mvnw", "")], None, "./mvnw --batch-mode test"),
            (&[("build.gradle.kts", "")], None, "gradle --no-daemon test"),
            (&[("Gemfile", "gem 'rspec'"), ("spec/a_spec.rb", "")], Some("bundle install"), "bundle exec rspec"),
            (
                &[("phpunit.xml", ""), ("composer.json", "{}")],
                Some("composer install --no-interaction --no-progress"),
                "vendor/bin/phpunit",
            ),
            (&[("App.sln", "")], None, "dotnet test"),
            (&[("pyproject.toml", "[tool.pytest.ini_options]")], None, "python3 -m pytest"),
            (&[("tests/test_a.py", "")], None, "PYTHONPATH=. python3 -m unittest discover -s tests"),
            (&[("tests/test_a.py", ""), ("tests/__init__.py", "")], None, "python3 -m unittest discover -s tests -t ."),
            (&[("tests/test_a.py", ""), ("requirements-dev.txt", "pytest==8")], None, "python3 -m pytest"),
            (&[("Makefile", "all:\n\ncheck: all\n")], None, "make check"),
        ];
        for (files, setup, test) in table {
            assert_eq!(detected(files), Some((setup.map(str::to_owned), test.to_owned())), "{files:?}");
        }
    }

    #[test]
    fn a_repository_without_tests_has_no_test_command() {
        assert_eq!(detected(&[("README.md", "hello")]), None);
        assert_eq!(
            detected(&[("package.json", r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#)]),
            None
        );
        assert_eq!(detected(&[("package.json", "not json"), ("Makefile", "all:\n")]), None);
    }
}
