//! What an agent leaves behind, read as a tree.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use patchwright::git::mirror::Mirror;
use patchwright::git::objects::{
    Change, ChangeKind, Draft, Rules, Snapshot, SnapshotError, between, changes, diff, difference, filtered, read_file,
    snapshot,
};

use super::fixture::{Repo, Side, agent_git};

/// Our side with a checkout of a small repository.
struct Work {
    _side: Side,
    mirror: Mirror,
    draft: Draft,
    base: String,
    dir: PathBuf,
}

impl Work {
    async fn new() -> Self {
        Self::on(&[
            ("README.md", 0o100_644, b"hello\n"),
            ("src/app.py", 0o100_644, b"one\ntwo\nthree\n"),
            ("src/old.py", 0o100_644, b"old\n"),
            ("tool.sh", 0o100_644, b"#!/bin/sh\n"),
            (".gitignore", 0o100_644, b"*.log\n/build/\n"),
            ("src/.gitignore", 0o100_644, b"generated/\n!keep.log\n"),
            ("tracked.log", 0o100_644, b"tracked although it is ignored\n"),
        ])
        .await
    }

    async fn on(entries: &[(&str, u32, &[u8])]) -> Self {
        let (repo, side) = (Repo::new(), Side::new());
        let base = repo.commit_entries("main", "base", entries);
        let mirror = side.mirror_of(&repo).await;
        let dir = side.checkout(&mirror, &base, "checkout").await;
        let draft = side.draft(&mirror);
        Self { _side: side, mirror, draft, base, dir }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn snapshot_with(&self, against: &str, rules: &Rules) -> Result<Snapshot, SnapshotError> {
        snapshot(&self.draft, against, &self.dir, rules).await
    }

    /// The tree of a snapshot, kept in the mirror.
    async fn kept(&self, taken: &Snapshot) -> String {
        between(&self.draft, &self.base, &taken.tree, &self.base).await.unwrap().tree
    }

    async fn difference(&self) -> Option<String> {
        difference(&self.mirror, &self.base, &self.dir).await.unwrap()
    }

    async fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        self.snapshot_with(&self.base, &strict()).await
    }

    async fn changed(&self) -> Vec<(String, ChangeKind)> {
        paths(&self.snapshot().await.unwrap())
    }

    async fn refused(&self) -> String {
        match self.snapshot().await {
            Err(SnapshotError::Refused(refusal)) => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn strict() -> Rules {
    Rules::strict(1 << 20, 20, 4 << 20)
}

fn paths(snapshot: &Snapshot) -> Vec<(String, ChangeKind)> {
    snapshot.changes.iter().map(|change| (change.path.clone(), change.kind)).collect()
}

fn owned(expected: &[(&str, ChangeKind)]) -> Vec<(String, ChangeKind)> {
    expected.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
}

#[tokio::test]
async fn an_untouched_checkout_is_the_tree_of_its_commit() {
    let work = Work::new().await;
    let taken = work.snapshot().await.unwrap();
    assert_eq!(taken.changes, []);
    assert_eq!(changes(&work.mirror, &work.base, &taken.tree).await.unwrap(), []);
}

#[tokio::test]
async fn changed_new_and_removed_files_are_found_with_their_lines_counted() {
    let work = Work::new().await;
    work.write("src/app.py", "one\n2\n3\n");
    work.write("tests/test_app.py", "def test(): pass\n");
    fs::remove_file(work.dir.join("src/old.py")).unwrap();
    let taken = work.snapshot().await.unwrap();
    let expected = [
        ("src/app.py", ChangeKind::Modified),
        ("src/old.py", ChangeKind::Deleted),
        ("tests/test_app.py", ChangeKind::Added),
    ];
    assert_eq!(paths(&taken), owned(&expected));
    assert_eq!((taken.changes[0].added, taken.changes[0].removed), (2, 2));
    let test = read_file(&work.mirror, &work.kept(&taken).await, "tests/test_app.py", 100).await.unwrap();
    assert_eq!(test.as_deref(), Some(b"def test(): pass\n".as_slice()));
}

#[tokio::test]
async fn the_executable_bit_a_link_and_binary_content_are_seen() {
    let work = Work::new().await;
    fs::set_permissions(work.dir.join("tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../README.md", work.dir.join("src/readme")).unwrap();
    fs::write(work.dir.join("logo.png"), [0, 1, 2, 255]).unwrap();
    let taken = work.snapshot().await.unwrap();
    let expected =
        [("logo.png", ChangeKind::Added), ("src/readme", ChangeKind::Added), ("tool.sh", ChangeKind::ModeChanged)];
    assert_eq!(paths(&taken), owned(&expected));
    assert_eq!(taken.changes.iter().map(|change| change.binary).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn ignored_files_and_litter_are_left_out_but_tracked_ones_are_not() {
    let work = Work::new().await;
    for path in ["debug.log", "build/out.js", "src/generated/a.py", "src/__pycache__/app.pyc", "node_modules/x/i.js"] {
        work.write(path, "x\n");
    }
    work.write("src/keep.log", "x\n");
    work.write("tracked.log", "changed\n");
    let expected = [("src/keep.log", ChangeKind::Added), ("tracked.log", ChangeKind::Modified)];
    assert_eq!(work.changed().await, owned(&expected));
}

#[tokio::test]
async fn a_file_may_become_a_folder_and_a_folder_a_file() {
    let work = Work::new().await;
    fs::remove_file(work.dir.join("README.md")).unwrap();
    work.write("README.md/index.md", "hello\n");
    fs::remove_dir_all(work.dir.join("src")).unwrap();
    work.write("src", "now a file\n");
    let expected = [
        ("README.md", ChangeKind::Deleted),
        ("README.md/index.md", ChangeKind::Added),
        ("src", ChangeKind::Added),
        ("src/.gitignore", ChangeKind::Deleted),
        ("src/app.py", ChangeKind::Deleted),
        ("src/old.py", ChangeKind::Deleted),
    ];
    assert_eq!(work.changed().await, owned(&expected));
}

#[tokio::test]
async fn it_does_not_matter_what_the_agent_does_to_its_own_repository() {
    let work = Work::new().await;
    work.write("src/app.py", "one\n");
    let untouched = work.snapshot().await.unwrap();
    agent_git(&work.dir, &["commit", "--quiet", "--all", "--message=mine"]);
    assert_eq!(work.snapshot().await.unwrap(), untouched);
    agent_git(&work.dir, &["commit", "--quiet", "--amend", "--message=rewritten"]);
    agent_git(&work.dir, &["update-index", "--assume-unchanged", "src/app.py"]);
    assert_eq!(work.snapshot().await.unwrap(), untouched);
    fs::remove_dir_all(work.dir.join(".git")).unwrap();
    assert_eq!(work.snapshot().await.unwrap(), untouched);
    fs::write(work.dir.join(".git"), "gitdir: /somewhere/else\n").unwrap();
    assert_eq!(work.snapshot().await.unwrap(), untouched);
}

#[tokio::test]
async fn links_that_leave_the_repository_are_refused_by_name() {
    for (path, target) in [("a", "/etc/passwd"), ("src/a", "../../outside"), ("a", "src/../../x"), ("a", ".git/config")]
    {
        let work = Work::new().await;
        symlink(target, work.dir.join(path)).unwrap();
        let refused = work.refused().await;
        assert!(refused.starts_with(&format!("`{path}` is a link")), "{refused}");
    }
}

#[tokio::test]
async fn names_that_mean_dot_git_elsewhere_are_refused() {
    for path in [".GIT/config", "src/.Git", "git~1/hooks/x", "src/.git ", ".g\u{200c}it/x", "x\\.git\\y"] {
        let work = Work::new().await;
        work.write(path, "x");
        let refused = work.refused().await;
        assert!(refused.contains("means `.git`"), "{path:?}: {refused}");
    }
}

#[tokio::test]
async fn a_repository_inside_the_repository_is_refused_wherever_it_is() {
    for path in ["vendor/lib/.git/HEAD", "src/.git"] {
        let work = Work::new().await;
        work.write(path, "ref: refs/heads/main\n");
        assert!(work.refused().await.contains("repository of its own"), "{path}");
    }
}

#[tokio::test]
async fn a_fifo_is_refused_without_being_opened_even_in_the_place_of_a_known_file() {
    for path in ["pipe", "src/app.py", ".gitignore", "src/.gitignore"] {
        let work = Work::new().await;
        let _ = fs::remove_file(work.dir.join(path));
        fifo(&work.dir.join(path));
        let refused = work.refused().await;
        assert!(refused.contains("is a FIFO"), "{path}: {refused}");
    }
}

#[tokio::test]
async fn a_huge_file_is_refused_by_its_size_and_a_huge_ignore_file_has_no_effect() {
    let work = Work::new().await;
    fs::File::create(work.dir.join("huge.bin")).unwrap().set_len(1 << 40).unwrap();
    let refused = work.refused().await;
    assert!(refused.contains("`huge.bin` has 1099511627776 bytes"), "{refused}");
    fs::rename(work.dir.join("huge.bin"), work.dir.join("src/.gitignore")).unwrap();
    assert!(work.refused().await.contains("`src/.gitignore` has"));
}

#[tokio::test]
async fn too_many_files_and_too_much_in_all_are_refused() {
    let work = Work::new().await;
    for n in 0..3 {
        work.write(&format!("new{n}"), "xxxx");
    }
    let few = Rules::strict(100, 2, 100);
    let small = Rules::strict(100, 20, 10);
    for (rules, text) in [(few, "more than 2 changed files"), (small, "more than 10 bytes")] {
        let error = work.snapshot_with(&work.base, &rules).await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn removed_files_count_as_changed_files() {
    let work = Work::new().await;
    fs::remove_dir_all(work.dir.join("src")).unwrap();
    let error = work.snapshot_with(&work.base, &Rules::strict(100, 2, 100)).await.unwrap_err().to_string();
    assert!(error.contains("more than 2 changed files"), "{error}");
}

#[tokio::test]
async fn a_large_file_of_the_base_may_stay_but_not_change() {
    let large = vec![b'x'; 4096];
    let work = Work::on(&[("large.bin", 0o100_644, &large), ("a", 0o100_644, b"1\n")]).await;
    let rules = Rules::strict(1000, 20, 4000);
    work.write("a", "2\n");
    assert_eq!(paths(&work.snapshot_with(&work.base, &rules).await.unwrap()), owned(&[("a", ChangeKind::Modified)]));
    fs::write(work.dir.join("large.bin"), vec![b'y'; 4096]).unwrap();
    assert!(work.snapshot_with(&work.base, &rules).await.unwrap_err().to_string().contains("`large.bin` has 4096"));
}

#[tokio::test]
async fn a_name_with_control_characters_is_refused_and_not_repeated_raw() {
    let work = Work::new().await;
    work.write("evil\n\u{1b}[31mname", "x");
    let refused = work.refused().await;
    assert!(refused.contains("control characters") && !refused.chars().any(char::is_control), "{refused:?}");
}

#[tokio::test]
async fn very_deep_folders_are_refused() {
    let work = Work::new().await;
    fs::create_dir_all(work.dir.join("d/".repeat(150))).unwrap();
    assert!(work.refused().await.contains("folders deep"));
}

#[tokio::test]
async fn a_submodule_that_was_not_fetched_stays_as_it_is() {
    let commit = "1".repeat(40);
    let work = Work::on(&[("lib", 0o160_000, commit.as_bytes()), ("a", 0o100_644, b"1\n")]).await;
    work.write("lib/anything", "x\n");
    assert_eq!(work.changed().await, []);
    fs::remove_dir_all(work.dir.join("lib")).unwrap();
    work.write("lib", "now a file\n");
    assert!(work.refused().await.contains("was a submodule"));
}

#[tokio::test]
async fn a_file_that_lfs_filled_in_is_unchanged_and_a_changed_one_is_refused() {
    let oid = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n");
    let work = Work::on(&[("big.bin", 0o100_644, pointer.as_bytes())]).await;
    assert_eq!(work.changed().await, []);
    work.write("big.bin", "hello");
    assert_eq!(work.changed().await, []);
    work.write("big.bin", "hallo");
    assert!(work.refused().await.contains("Git LFS"));
}

#[tokio::test]
async fn what_the_setup_left_behind_is_not_published_and_not_held_against_the_agent() {
    let work = Work::new().await;
    // The setup: a lock file changed, unignored products, a link and a pipe that could never be published.
    work.write("src/app.py", "one\ntwo\nthree\nadded by setup\n");
    work.write("dist/bundle.js", "built\n");
    work.write("dist/cache.json", "1\n");
    work.write("deps/lib/.git/HEAD", "ref: refs/heads/main\n");
    work.write("deps/lib/lib.py", "x\n");
    symlink("/usr/bin/env", work.dir.join("env")).unwrap();
    fifo(&work.dir.join("server.pipe"));
    let before = work.snapshot_with(&work.base, &Rules::for_setup()).await.unwrap();
    let left_out: Vec<_> = before.left_out.iter().map(|path| String::from_utf8_lossy(path)).collect();
    assert_eq!(left_out, ["deps/lib", "env", "server.pipe"]);
    // The agent.
    work.write("src/app.py", "1\ntwo\nthree\nadded by setup\n");
    work.write("dist/cache.json", "2\n");
    work.write("fix.py", "fixed\n");
    let rules = Rules { leave_out: before.left_out, ..strict() };
    let after = work.snapshot_with(&before.tree, &rules).await.unwrap();
    let applied = between(&work.draft, &before.tree, &after.tree, &work.base).await.unwrap();
    assert_eq!(applied.left_out, ["dist/cache.json"]);
    let published = changes(&work.mirror, &work.base, &applied.tree).await.unwrap();
    let published: Vec<_> = published.into_iter().map(|change| change.path).collect();
    assert_eq!(published, ["fix.py", "src/app.py"]);
    let text = diff(&work.mirror, &work.base, &applied.tree, 10_000).await.unwrap();
    assert!(text.contains("-one\n+1\n two\n three\n") && !text.contains("added by setup"), "{text}");
}

#[tokio::test]
async fn lines_that_setup_and_agent_both_changed_cannot_be_told_apart() {
    let work = Work::new().await;
    work.write("src/app.py", "setup\n");
    let before = work.snapshot_with(&work.base, &Rules::for_setup()).await.unwrap();
    work.write("src/app.py", "agent\n");
    let after = work.snapshot_with(&before.tree, &strict()).await.unwrap();
    let error = between(&work.draft, &before.tree, &after.tree, &work.base).await.unwrap_err();
    assert!(matches!(&error, SnapshotError::Refused(refusal) if refusal.path == "src/app.py"), "{error}");
}

#[tokio::test]
async fn a_long_difference_is_cut_and_says_so() {
    let work = Work::new().await;
    work.write("long.txt", &"a line of text\n".repeat(1000));
    let taken = work.snapshot().await.unwrap();
    let text = diff(&work.mirror, &work.base, &work.kept(&taken).await, 500).await.unwrap();
    assert!(text.len() < 600 && text.contains("longer than 500 bytes and was cut"), "{text}");
}

#[tokio::test]
async fn a_thousand_unchanged_files_write_nothing() {
    let files: Vec<_> = (0..1000).map(|n| (format!("d{}/f{n}", n % 20), format!("{n}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), 0o100_644, text.as_bytes())).collect();
    let work = Work::on(&files).await;
    let before = objects(&work.mirror);
    assert_eq!(work.changed().await, []);
    assert_eq!(objects(&work.mirror), before);
}

/// How many files there are below the objects of a mirror.
fn objects(mirror: &Mirror) -> usize {
    let folders = fs::read_dir(mirror.path().join("objects")).unwrap().map(Result::unwrap);
    folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

#[tokio::test]
async fn of_setup_and_agent_only_what_is_published_gets_into_the_mirror() {
    let work = Work::new().await;
    let at_first = objects(&work.mirror);
    work.write("dist/bundle.js", "built\n");
    let before = work.snapshot_with(&work.base, &Rules::for_setup()).await.unwrap();
    work.write("src/app.py", "fixed\n");
    let after = work.snapshot_with(&before.tree, &strict()).await.unwrap();
    assert_eq!(objects(&work.mirror), at_first);
    let applied = between(&work.draft, &before.tree, &after.tree, &work.base).await.unwrap();
    assert_eq!(objects(&work.mirror), at_first + 3, "the file, its folder and the root");
    let fixed = read_file(&work.mirror, &applied.tree, "src/app.py", 100).await.unwrap();
    assert_eq!(fixed.as_deref(), Some(b"fixed\n".as_slice()));
}

#[tokio::test]
async fn what_a_setup_leaves_behind_may_be_closed_deep_or_more_than_the_limit() {
    let work = Work::new().await;
    fs::create_dir_all(work.dir.join(format!("deep/{}", "d/".repeat(150)))).unwrap();
    let closed = work.dir.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    for n in 0..5 {
        work.write(&format!("made{n}"), "x\n");
    }
    let rules = Rules { max_files: 3, ..Rules::for_setup() };
    let before = work.snapshot_with(&work.base, &rules).await.unwrap();
    assert!(before.left_out.contains(b"made4".as_slice()) && !before.left_out.contains(b"made0".as_slice()));
    work.write("fix.py", "fixed\n");
    let rules = Rules { leave_out: before.left_out, ..strict() };
    let after = work.snapshot_with(&before.tree, &rules).await;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(paths(&after.unwrap()), owned(&[("fix.py", ChangeKind::Added)]));
}

#[tokio::test]
async fn two_names_that_are_shown_alike_are_left_out_apart() {
    let work = Work::new().await;
    let long = "n".repeat(210);
    symlink("/away", work.dir.join(&long)).unwrap();
    let before = work.snapshot_with(&work.base, &Rules::for_setup()).await.unwrap();
    work.write(&format!("{long}2"), "the agent's\n");
    let rules = Rules { leave_out: before.left_out, ..strict() };
    let after = work.snapshot_with(&before.tree, &rules).await.unwrap();
    assert_eq!(after.changes.len(), 1);
}

#[tokio::test]
async fn what_is_passed_over_since_the_setup_is_known() {
    let work = Work::new().await;
    work.write("build/setup.o", "x\n");
    let before = work.snapshot().await.unwrap();
    work.write("build/more.o", "x\n");
    work.write("debug.log", "x\n");
    work.write("src/__pycache__/app.pyc", "x\n");
    let after = work.snapshot().await.unwrap();
    assert_eq!(after.passed_over_since(&before), ["debug.log", "src/__pycache__"]);
}

#[tokio::test]
async fn a_changed_file_that_would_go_through_a_filter_is_found_by_the_attributes_of_the_base() {
    let work = Work::on(&[
        (".gitattributes", 0o100_644, b"*.bin filter=lfs -text\n"),
        ("keys/.gitattributes", 0o100_644, b"*.key filter=git-crypt\npublic.key !filter\n"),
        ("keys/old.key", 0o100_644, b"x"),
    ])
    .await;
    let change = |path: &str, kind| Change { path: path.to_owned(), kind, binary: false, added: 1, removed: 0 };
    for (path, kind, expected) in [
        ("big.bin", ChangeKind::Added, Some("lfs")),
        ("keys/new.key", ChangeKind::Added, Some("git-crypt")),
        ("keys/old.key", ChangeKind::Modified, Some("git-crypt")),
        ("keys/old.key", ChangeKind::Deleted, None),
        ("keys/public.key", ChangeKind::Added, None),
        ("a.py", ChangeKind::Added, None),
    ] {
        // An agent cannot talk itself out of it.
        work.write(".gitattributes", "* !filter\n");
        let found = filtered(&work.draft, &work.base, &[change(path, kind)]).await.unwrap();
        let expected = expected.map(|filter| (path.to_owned(), filter.to_owned()));
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn a_fresh_checkout_is_what_its_commit_says_and_every_difference_is_seen() {
    let large = vec![b'x'; 17 << 20];
    let entries: [(&str, u32, &[u8]); 4] = [
        ("d/a", 0o100_644, b"1\n"),
        ("link", 0o120_000, b"d/a"),
        ("large.bin", 0o100_644, &large),
        (".gitignore", 0o100_644, b"*.log\n"),
    ];
    let work = Work::on(&entries).await;
    assert_eq!(work.difference().await, None);
    let undo = |path: &str, content: &[u8]| fs::write(work.dir.join(path), content).unwrap();

    fs::write(work.dir.join("large.bin"), vec![b'y'; 17 << 20]).unwrap();
    assert_eq!(work.difference().await.as_deref(), Some("`large.bin` is different"));
    undo("large.bin", &large);
    fs::remove_file(work.dir.join("link")).unwrap();
    assert_eq!(work.difference().await.as_deref(), Some("`link` is missing"));
    symlink("/elsewhere", work.dir.join("link")).unwrap();
    assert_eq!(work.difference().await.as_deref(), Some("`link` is different"));
    fs::remove_file(work.dir.join("link")).unwrap();
    symlink("d/a", work.dir.join("link")).unwrap();
    work.write("ignored.log", "x");
    assert_eq!(work.difference().await.as_deref(), Some("`ignored.log` is not in the commit"));
    fs::remove_file(work.dir.join("ignored.log")).unwrap();
    fs::set_permissions(work.dir.join("d/a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(work.difference().await.as_deref(), Some("`d/a` is different"));
}
