//! Blame, and mapping stack frames to files.

use patchwright::git::objects::{blame, commit_info, find_paths, read_file};

use super::fixture::{Repo, Side};

#[tokio::test]
async fn a_line_is_blamed_on_the_commit_that_changed_it_last() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a.py", "one\ntwo\nthree\n")]);
    let second = repo.commit("change two", &[("a.py", "one\n2\nthree\n")]);
    let head = repo.commit("unrelated", &[("b.py", "x\n")]);
    let mirror = side.mirror_of(&repo).await;
    let lines = blame(&mirror, &head, "a.py", &[1, 2, 99, 0], 100).await.unwrap();
    let found: Vec<_> = lines.iter().map(|line| (line.line, line.commit.as_str(), line.older)).collect();
    assert_eq!(found, [(1, first.as_str(), false), (2, second.as_str(), false)]);
    assert_eq!((lines[1].subject.as_str(), lines[1].author.as_str()), ("change two", "Ada Example"));
    assert_eq!(commit_info(&mirror, &second).await.unwrap().parents, [first]);
}

#[tokio::test]
async fn a_line_older_than_the_history_looked_at_is_said_to_be() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a.py", "one\ntwo\n")]);
    for n in 0..5 {
        repo.commit("more", &[("a.py", &format!("one\n{n}\n"))]);
    }
    let head = repo.tip("main").unwrap();
    let mirror = side.mirror_of(&repo).await;
    let lines = blame(&mirror, &head, "a.py", &[1, 2], 2).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.older).collect::<Vec<_>>(), [true, false]);
    assert_eq!(lines[1].commit, head);
}

#[tokio::test]
async fn what_cannot_be_blamed_gives_nothing() {
    let (repo, side) = (Repo::new(), Side::new());
    let large = "x\n".repeat(600_000);
    let head = repo.commit("first", &[("large.txt", &large), ("bin", "\0\u{1}")]);
    let mirror = side.mirror_of(&repo).await;
    for path in ["large.txt", "bin", "missing", "../../etc/passwd", ""] {
        assert_eq!(blame(&mirror, &head, path, &[1], 100).await.unwrap(), [], "{path}");
    }
}

#[tokio::test]
async fn frames_find_the_files_that_agree_with_them_most() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit(
        "first",
        &[("services/web/app/views.py", "1\n"), ("services/api/app/views.py", "1\n"), ("src/a.ts", "1\n")],
    );
    let mirror = side.mirror_of(&repo).await;
    let frames = ["/srv/web/app/views.py", "app/views.py", "webpack:///./src/a.ts", "/usr/lib/python3/json.py"];
    let found = find_paths(&mirror, &head, &frames.map(str::to_owned)).await.unwrap();
    let both = ["services/api/app/views.py", "services/web/app/views.py"];
    let paths: Vec<_> = found.iter().map(|fit| fit.paths.clone()).collect();
    assert_eq!(paths, [vec![both[1]], both.to_vec(), vec!["src/a.ts"], vec![]]);
    assert_eq!(found.iter().map(|fit| (fit.agreed, fit.of)).collect::<Vec<_>>(), [(3, 4), (2, 2), (2, 2), (0, 4)]);
}

#[tokio::test]
async fn a_file_is_read_from_the_commit_and_nothing_else_is() {
    let (repo, side) = (Repo::new(), Side::new());
    let head =
        repo.commit_entries("main", "first", &[("d/a", 0o100_644, b"12345"), ("link", 0o120_000, b"/etc/passwd")]);
    let mirror = side.mirror_of(&repo).await;
    let read = async |path, max| read_file(&mirror, &head, path, max).await.unwrap();
    assert_eq!(read("d/a", 5).await.as_deref(), Some(b"12345".as_slice()));
    for (path, max) in [("d/a", 4), ("d", 100), ("link", 100), ("/etc/passwd", 100), ("d/../d/a", 100), ("", 100)] {
        assert_eq!(read(path, max).await, None, "{path}");
    }
}
