//! Finds the test command of a repository that does not say it.
//!
//! Invariant: only a clean checkout is looked at, only regular files are read, what was looked for is told, and a name from
//! the repository gets into a command only where it means nothing to a shell.

mod look;
mod node;
mod python;

use std::path::Path;

use crate::config::CommandLine;
use look::Look;

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
pub const LOOKED_FOR: &str = "pytest, unittest or Django, npm, pnpm, yarn or bun, cargo, go, maven, gradle, rspec, phpunit, dotnet, a \
     Makefile with a `test` or `check` target";

/// Looks for the test command of the project in the folder `path` of a checkout. Lock files and wrappers may also be
/// above it.
#[must_use]
pub fn detect(checkout: &Path, path: &Path) -> Option<Detected> {
    let look = Look::new(checkout, path);
    cargo(&look)
        .or_else(|| go(&look))
        .or_else(|| node::detect(&look))
        .or_else(|| java(&look))
        .or_else(|| ruby(&look))
        .or_else(|| php(&look))
        .or_else(|| dotnet(&look))
        .or_else(|| python::detect(&look))
        .or_else(|| make(&look))
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

fn java(look: &Look<'_>) -> Option<Detected> {
    let program = |wrapper: &str, installed: &str| look.program_above(wrapper).unwrap_or_else(|| installed.to_owned());
    if look.has("pom.xml") {
        return found("pom.xml", None, &format!("{} --batch-mode test", program("mvnw", "mvn")));
    }
    if ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"].iter().any(|name| look.has(name))
    {
        return found("a Gradle build", None, &format!("{} --no-daemon test", program("gradlew", "gradle")));
    }
    None
}

fn ruby(look: &Look<'_>) -> Option<Detected> {
    let way = look.way_up("Gemfile");
    let above = way.as_deref().unwrap_or_default();
    let mut named = vec![format!("{above}Gemfile"), format!("{above}Gemfile.lock")];
    named.extend(look.names("").into_iter().filter(|name| name.ends_with(".gemspec")));
    let specs = || look.has_folder("spec") && named.iter().any(|name| look.text(name).contains("rspec"));
    if !(look.has(".rspec") || specs()) {
        return None;
    }
    // Bundler looks for the Gemfile above, too.
    match way {
        Some(_) => found("Gemfile and spec/", Some("bundle install"), "bundle exec rspec"),
        None => found("spec/", None, "rspec"),
    }
}

fn php(look: &Look<'_>) -> Option<Detected> {
    let configured = ["phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml"].iter().any(|name| look.has(name));
    let composer: serde_json::Value = serde_json::from_str(&look.text("composer.json")).unwrap_or_default();
    let required = look.has_folder("tests") && composer["require-dev"].get("phpunit/phpunit").is_some();
    let setup = "composer install --no-interaction --no-progress";
    match (configured, look.has("composer.json")) {
        (true, true) => found("phpunit.xml", Some(setup), "vendor/bin/phpunit"),
        (true, false) => found("phpunit.xml", None, "phpunit"),
        (false, _) if required => found("composer.json and tests/", Some(setup), "vendor/bin/phpunit tests"),
        (false, _) => None,
    }
}

fn dotnet(look: &Look<'_>) -> Option<Detected> {
    let project = |name: &String| name.ends_with(".sln") || name.ends_with(".slnx") || name.ends_with(".csproj");
    if look.names("").iter().any(project) {
        return found("a .sln or .csproj file", None, "dotnet test");
    }
    let mut projects = ["test", "tests", "src"].into_iter().flat_map(|folder| look.files_below(folder, 2));
    let tests =
        projects.find(|path| path.ends_with(".csproj") && look.text(path).contains("Microsoft.NET.Test.Sdk"))?;
    found("a .csproj file with tests", None, &format!("dotnet test {tests}"))
}

fn make(look: &Look<'_>) -> Option<Detected> {
    // In the order in which GNU make looks for them.
    let makefile = ["GNUmakefile", "makefile", "Makefile"].into_iter().find(|name| look.has(name))?;
    let text = look.text(makefile);
    let has_target = |target: &str| text.lines().any(|line| targets(line).any(|name| name == target));
    let target = ["test", "check"].into_iter().find(|target| has_target(target))?;
    found("a Makefile", None, &format!("make {target}"))
}

/// The targets of a line of a Makefile: what is before the colon of a rule, not of an assignment.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let rule = line.split_once(':').filter(|(names, rest)| {
        let assignment = rest.trim_start_matches(':').starts_with('=');
        !assignment && !names.contains(['=', '#']) && !names.starts_with([' ', '\t'])
    });
    rule.map_or("", |(names, _)| names).split_whitespace()
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
        detect(folder.path(), Path::new("")).map(|found| (found.setup.map(|s| s.shown()), found.test.shown()))
    }

    const UNITTEST: &str = "import unittest\nclass T(unittest.TestCase): pass\n";

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
            (&[("pom.xml", ""), ("mvnw", "")], None, "sh ./mvnw --batch-mode test"),
            (&[("build.gradle.kts", "")], None, "gradle --no-daemon test"),
            (&[("Gemfile", "gem 'rspec'"), ("spec/a_spec.rb", "")], Some("bundle install"), "bundle exec rspec"),
            (
                &[("phpunit.xml", ""), ("composer.json", "{}")],
                Some("composer install --no-interaction --no-progress"),
                "vendor/bin/phpunit",
            ),
            (&[("App.sln", "")], None, "dotnet test"),
            (&[("pyproject.toml", "[tool.pytest.ini_options]")], None, "python3 -m pytest"),
            (&[("tests/test_a.py", UNITTEST)], None, "PYTHONPATH=. python3 -m unittest discover -s tests"),
            (
                &[("tests/test_a.py", UNITTEST), ("tests/__init__.py", "")],
                None,
                "python3 -m unittest discover -s tests -t .",
            ),
            (&[("tests/test_a.py", ""), ("requirements-dev.txt", "pytest==8")], None, "python3 -m pytest"),
            (&[("Makefile", "all:\n\ncheck: all\n")], None, "make check"),
        ];
        for (files, setup, test) in table {
            assert_eq!(detected(files), Some((setup.map(str::to_owned), test.to_owned())), "{files:?}");
        }
    }

    #[test]
    fn other_common_layouts_are_recognised() {
        let table: [(Files, Option<&str>, &str); 17] = [
            (&[("tests/test_a.py", "def test_a(): pass")], None, "python3 -m pytest"),
            (&[("tests/test_a.py", "from unittest import mock\ndef test_a(): pass")], None, "python3 -m pytest"),
            (&[("tests/unit/test_a.py", "def test_a(): pass")], None, "python3 -m pytest"),
            (&[("shop/cart_test.py", ""), ("cart_test.py", "")], None, "python3 -m pytest"),
            (&[("tests/test_a.py", UNITTEST), ("requirements-ci.txt", "pytest")], None, "python3 -m pytest"),
            (&[("tests/test_a.py", UNITTEST), ("setup.cfg", "tests = pytest")], None, "python3 -m pytest"),
            (&[("manage.py", "import django"), ("shop/tests.py", "")], None, "python3 manage.py test"),
            (
                &[("Gemfile", "gemspec"), ("Gemfile.lock", "rspec (3)"), ("spec/a", "")],
                Some("bundle install"),
                "bundle exec rspec",
            ),
            (&[("a.gemspec", "'rspec'"), ("spec/a_spec.rb", "")], None, "rspec"),
            (
                &[("composer.json", r#"{"require-dev":{"phpunit/phpunit":"^11"}}"#), ("tests/ATest.php", "")],
                Some("composer install --no-interaction --no-progress"),
                "vendor/bin/phpunit tests",
            ),
            (&[("phpunit.dist.xml", "")], None, "phpunit"),
            (
                &[("src/App/App.csproj", ""), ("tests/App.Tests/App.Tests.csproj", "Microsoft.NET.Test.Sdk")],
                None,
                "dotnet test tests/App.Tests/App.Tests.csproj",
            ),
            (&[("settings.gradle.kts", ""), ("gradlew", "")], None, "sh ./gradlew --no-daemon test"),
            (&[("GNUmakefile", "test :\n\ttrue\n")], None, "make test"),
            (&[("makefile", "check: a\ntest lint: build\n")], None, "make test"),
            (
                &[("package.json", r#"{"scripts":{"test":"x"},"packageManager":"pnpm@9.1.0"}"#)],
                Some("pnpm install"),
                "pnpm test",
            ),
            (
                &[("package.json", r#"{"scripts":{"test":"x"}}"#), ("bun.lock", "")],
                Some("bun install --frozen-lockfile"),
                "bun run test",
            ),
        ];
        for (files, setup, test) in table {
            assert_eq!(detected(files), Some((setup.map(str::to_owned), test.to_owned())), "{files:?}");
        }
    }

    #[test]
    fn lock_files_and_wrappers_are_found_up_to_the_top_of_the_checkout_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("checkout");
        std::fs::create_dir_all(checkout.join("packages/web")).unwrap();
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        let command = |path: &str| {
            let found = detect(&checkout, Path::new(path)).unwrap();
            (found.setup.map(|setup| setup.shown()), found.test.shown())
        };
        write("pnpm-lock.yaml", "");
        write("checkout/packages/web/package.json", r#"{"scripts":{"test":"x"},"dependencies":{"a":"1"}}"#);
        let installed = Some("npm install --no-audit --no-fund --no-package-lock".to_owned());
        assert_eq!(command("packages/web"), (installed, "npm test".to_owned()));
        write("checkout/package-lock.json", "");
        assert_eq!(command("packages/web"), (Some("cd ../../ && npm ci".to_owned()), "npm test".to_owned()));
        write("checkout/package.json", r#"{"packageManager": "yarn@1.22.22"}"#);
        assert_eq!(command("packages/web").1, "yarn test");
        write("checkout/packages/pom.xml", "");
        write("checkout/mvnw", "");
        assert_eq!(command("./packages"), (None, "sh ../mvnw --batch-mode test".to_owned()));
        std::os::unix::fs::symlink("/bin/true", checkout.join("packages/mvnw")).unwrap();
        assert_eq!(command("packages").1, "sh ../mvnw --batch-mode test");
    }

    #[test]
    fn a_name_that_means_something_to_a_shell_is_in_no_command() {
        let hostile =
            &[("tests/a;touch b.csproj", "Microsoft.NET.Test.Sdk"), ("tests/$(id).csproj", "Microsoft.NET.Test.Sdk")];
        assert_eq!(detected(hostile), None);
    }

    #[test]
    fn a_repository_without_tests_has_no_test_command() {
        assert_eq!(detected(&[("README.md", "hello")]), None);
        assert_eq!(
            detected(&[("package.json", r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#)]),
            None
        );
        assert_eq!(detected(&[("package.json", "not json"), ("Makefile", "all:\n")]), None);
        assert_eq!(detected(&[("package.json", r#"{"scripts":{"test":" "}}"#)]), None);
        assert_eq!(detected(&[("Makefile", "test:=foo\ncheck ::= foo\nX = a test: b\n\ttest: x\n# test: x\n")]), None);
    }
}
