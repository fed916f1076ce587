//! Whether the documents fit the files beside them.
//!
//! Invariant: only what lies in the package is checked; nothing is fetched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::files::{root, texts};
use super::verdict::{Breach, Rule};

/// A document, and its folder within the package.
struct Document {
    path: String,
    text: String,
}

impl Document {
    fn read(path: &str) -> Option<Self> {
        let text = std::fs::read_to_string(root().join(path)).ok()?;
        Some(Self { path: path.to_owned(), text })
    }

    fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        for folder in ["", "docs/"] {
            for entry in std::fs::read_dir(root().join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                paths.extend(name.ends_with(".md").then(|| format!("{folder}{name}")));
            }
        }
        paths.sort();
        paths.iter().filter_map(|path| Self::read(path)).collect()
    }

    /// Links to files that are not there. `exists` is asked about paths within the package.
    fn dead_links(&self, exists: impl Fn(&Path) -> bool) -> Vec<Breach> {
        let link = Regex::new(r"\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)").unwrap();
        let inline_code = Regex::new("`[^`]*`").unwrap();
        let (mut fenced, mut breaches) = (false, Vec::new());
        for (number, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            if fenced || fence || line.starts_with("    ") && !line.trim_start().starts_with(['-', '*']) {
                continue;
            }
            // `[`name`](target)` is a link, too: only the words are blanked, the brackets stay.
            let line = inline_code.replace_all(line, "code");
            for captures in link.captures_iter(&line) {
                let Some(target) = captures.get(1).or_else(|| captures.get(2)) else { continue };
                let file = target.as_str().split('#').next().unwrap_or_default();
                if file.is_empty() || file.contains(':') || exists(&self.beside(file)) {
                    continue;
                }
                let what = format!("the link to {} leads nowhere", target.as_str());
                breaches.push(Breach { file: self.path.clone(), line: number + 1, what });
            }
        }
        breaches
    }

    /// The path of a file that is named from this document.
    fn beside(&self, file: &str) -> PathBuf {
        let mut path = Path::new(&self.path).parent().unwrap_or(Path::new("")).to_path_buf();
        for part in file.split('/') {
            match part {
                "." | "" => {}
                ".." => drop(path.pop()),
                part => path.push(part),
            }
        }
        path
    }

    /// The tests named in the last column of the document's tables of four, each with its line.
    fn named_tests(&self) -> Vec<(usize, &str)> {
        let mut named = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            if let [_, _, _, tests] = cells.as_slice() {
                named.extend(tests.split('`').skip(1).step_by(2).map(|test| (number + 1, test)));
            }
        }
        named
    }

    /// Those of them that are not among these.
    fn unknown_tests(&self, known: &BTreeSet<&str>) -> Vec<Breach> {
        let unknown = self.named_tests().into_iter().filter(|(_, test)| !known.contains(test));
        let breach =
            |(line, test)| Breach { file: self.path.clone(), line, what: format!("there is no test `{test}`") };
        unknown.map(breach).collect()
    }

    /// Modules that the document does not name as `module`, `module.rs` or `module/…`.
    fn unmentioned(&self, modules: &[&str]) -> Vec<Breach> {
        let named = |module: &str| Regex::new(&format!(r"\b{module}(?:\.rs\b|/|`)")).unwrap().is_match(&self.text);
        let missing = modules.iter().filter(|module| !named(module));
        let breach = |module| Breach { file: self.path.clone(), line: 1, what: format!("does not name `{module}`") };
        missing.map(breach).collect()
    }

    fn example_files(&self) -> Vec<String> {
        let example = Regex::new(r"[\w./-]+\.example\.toml").unwrap();
        example.find_iter(&self.text).map(|found| found.as_str().to_owned()).collect()
    }

    fn has_a_version(&self) -> bool {
        Regex::new(r"(?mi)^## +\[?(?:unreleased|\d+\.\d+\.\d+)\b").unwrap().is_match(&self.text)
    }
}

/// The names of all tests in a source file: functions with the attribute, and what the list of a contract names.
fn tests_in(source: &str) -> Vec<&str> {
    let (mut tests, mut marked, mut listed) = (Vec::new(), false, false);
    for line in source.lines().map(str::trim) {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if line == "contracts! {" {
            listed = true;
        } else if listed && word(line) {
            tests.push(line);
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            tests.extend(rest.split('(').next());
            marked = false;
        } else {
            listed &= line != "}";
        }
    }
    tests
}

fn document(path: &str, text: &str) -> Document {
    Document { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn every_relative_link_in_the_documents_leads_to_a_file() {
    let documents = Document::all();
    assert!(documents.iter().any(|document| document.path == "README.md"));
    let exists = |path: &Path| root().join(path).exists();
    let dead = documents.iter().flat_map(|document| document.dead_links(exists));
    Rule::new("relative links lead to a file of the package", "a reader who is sent nowhere stops reading")
        .hold(dead.collect());
}

#[test]
fn every_wall_of_the_security_page_has_the_test_that_it_names() {
    let source: Vec<_> =
        ["src", "tests"].into_iter().flat_map(texts).filter(|(path, _)| path.ends_with(".rs")).collect();
    let known = source.iter().flat_map(|(_, text)| tests_in(text)).collect();
    let page = Document::read("SECURITY.md").unwrap();
    assert!(page.named_tests().len() > 40, "the tables of SECURITY.md are not read");
    Rule::new("the security page names tests that are there", "a wall without a test may be gone")
        .hold(page.unknown_tests(&known));
}

#[test]
fn the_program_needs_no_openssl() {
    let lock = Document::read("Cargo.lock").unwrap().text;
    assert!(lock.contains("name = \"rustls\""), "the lock file is not read");
    for package in ["openssl-sys", "openssl", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{package}\"\n")),
            "{package} came into Cargo.lock; TLS is rustls here"
        );
    }
}

#[test]
fn a_test_that_is_gone_is_noticed() {
    let page = document("S.md", "| a | b | `c.rs` | `it_holds` |\n| a | b | `c.rs` | `in_a_list`, `it_does_not` |");
    let source = "#[test]\n#[ignore]\nfn it_holds() {}\nfn it_does_not() {}\ncontracts! {\n    in_a_list\n}\nit_does_not\n\
                  #[tokio::test(flavor = \"multi_thread\")]\nasync fn another() {}";
    let known: Vec<&str> = tests_in(source);
    assert_eq!(known, ["it_holds", "in_a_list", "another"]);
    let unknown = page.unknown_tests(&known.into_iter().collect());
    assert_eq!(
        unknown.iter().map(|breach| (breach.line, breach.what.as_str())).collect::<Vec<_>>(),
        [(2, "there is no test `it_does_not`")]
    );
}

#[test]
fn the_page_on_containers_shows_the_dockerfile_that_is_there() {
    let (page, file) = (Document::read("docs/container.md").unwrap(), Document::read("deploy/Dockerfile").unwrap());
    assert!(page.text.contains(&format!("```dockerfile\n{}```\n", file.text)), "docs/container.md shows another one");
}

#[test]
fn every_flag_is_in_the_documents() {
    fn flags(command: &clap::Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
        own.chain(command.get_subcommands().flat_map(flags)).collect()
    }
    let flags = flags(&<patchwright::cli::Cli as clap::CommandFactory>::command());
    assert!(flags.len() > 10, "{flags:?}");
    let text = ["README.md", "docs/configuration.md"].map(|path| Document::read(path).unwrap().text).concat();
    let missing: Vec<_> = flags.into_iter().filter(|flag| !text.contains(&format!("`{flag}"))).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn nobody_is_sent_to_a_repository_that_is_not_ours() {
    // Whoever has that name on GitHub could read what is reported there, and is linked to from every pull request.
    let theirs = ["github.com/", "patchwright/"].concat();
    let folders = ["src", "tests", "prompts", "docs", "deploy", "demo", "benches"].into_iter().flat_map(texts);
    let top = ["Cargo.toml", "Dockerfile", "patchwright.example.toml"].into_iter().filter_map(Document::read);
    let top = top.chain(Document::all()).map(|document| (document.path, document.text));
    let sending: Vec<String> =
        folders.chain(top).filter(|(_, text)| text.contains(&theirs)).map(|(path, _)| path).collect();
    assert_eq!(sending, Vec::<String>::new());
}

#[test]
fn the_readme_names_an_example_configuration_that_is_there() {
    let examples = Document::read("README.md").unwrap().example_files();
    assert!(!examples.is_empty(), "README.md names no example configuration");
    for example in examples {
        assert!(root().join(&example).is_file(), "README.md names {example}, which is not there");
    }
}

#[test]
fn the_architecture_names_every_module() {
    let modules = super::layers::LAYERS.concat();
    let missing = Document::read("ARCHITECTURE.md").unwrap().unmentioned(&modules);
    Rule::new("ARCHITECTURE.md names every module", "the map must show the whole house").hold(missing);
}

#[test]
fn the_changelog_has_a_section_for_a_version() {
    let good = Document::read("CHANGELOG.md").unwrap().has_a_version();
    assert!(good, "CHANGELOG.md has no `## Unreleased` and no `## 1.2.3`");
}

#[test]
fn dead_links_are_found_and_others_left_alone() {
    let text = "[a](there.md) [b](gone.md#part) [c](https://example.com) [d](#part)\n[e]: gone.md\n[`f`](gone.md \"F\")\n\
                `[g](gone.md)`\n```\n[h](gone.md)\n```\n    [i](gone.md)\n- [j](../top.md)\n[k](sub/../there.md)\n";
    let there = |path: &Path| path == Path::new("docs/there.md") || path == Path::new("top.md");
    let lines: Vec<_> = document("docs/a.md", text).dead_links(there).iter().map(|breach| breach.line).collect();
    assert_eq!(lines, [1, 2, 3]);
}

#[test]
fn a_module_that_is_not_named_is_found() {
    let map = document("ARCHITECTURE.md", "The `git` module, clock.rs, src/store/sqlite.rs, and a job.");
    let missing: Vec<_> = map.unmentioned(&["git", "clock", "store", "job"]).into_iter().map(|b| b.what).collect();
    assert_eq!(missing, ["does not name `job`"]);
}

#[test]
fn examples_and_versions_are_found_where_they_are() {
    let readme = document("README.md", "see [a](patchwright.example.toml), not patchwright.toml");
    assert_eq!(readme.example_files(), ["patchwright.example.toml"]);
    for (text, expected) in [("## [Unreleased]\n", true), ("## 0.1.0 - today\n", true), ("# Changes\n## Soon\n", false)]
    {
        assert_eq!(document("CHANGELOG.md", text).has_a_version(), expected, "{text}");
    }
}
