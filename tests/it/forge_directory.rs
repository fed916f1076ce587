//! The directory forge, on real bare repositories.
//!
//! Invariant: what a person or a crash may leave in the folder is left there by the test.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has to fail")]

pub(crate) mod contract;
pub(crate) mod sample;

use std::fs;
use std::path::Path;

use patchwright::forge::directory::Directory;
use patchwright::forge::{Forge, ForgeError, NewPullRequest, PullRequestState};
use patchwright::redact::Redactor;
use serde_json::{Value, json};
use url::Url;

use self::sample::{Sample, from, web};

fn forge(sample: &Sample) -> Directory {
    Directory::new(sample.root()).expect("a forge")
}

/// Changes a record as a person with an editor would.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut record: Value = serde_json::from_slice(&fs::read(path).expect("a record")).expect("JSON");
    change(&mut record);
    fs::write(path, record.to_string()).expect("written");
}

fn names(sample: &Sample) -> Vec<String> {
    let entries = fs::read_dir(sample.pulls()).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_directory_forge_keeps_the_contract() {
    let sample = Sample::new();
    let close = |number| {
        edit(&sample.pulls().join(format!("{number}.json")), |record| record["state"] = json!("closed"));
    };
    contract::is_kept_by(&forge(&sample), &sample, close).await;
}

#[tokio::test]
async fn a_pull_request_is_a_ref_a_json_file_and_a_markdown_body() {
    let sample = Sample::new();
    let tip = sample.commit("fix/1", "main");
    let new = NewPullRequest { title: Redactor::default().text("Fix\nit"), ..from("fix/1") };
    let opened = forge(&sample).open_pull_request(&web(), &new).await.expect("opened").pull_request;
    assert_eq!(names(&sample), [".lock", "1.json", "1.md"]);
    let at = Url::parse(&opened.url).expect("an address").to_file_path().expect("a file");
    assert_eq!(fs::read_to_string(at).expect("a body"), new.body.as_str());
    let record: Value = serde_json::from_slice(&fs::read(sample.pulls().join("1.json")).expect("read")).expect("JSON");
    assert_eq!(
        (&record["title"], &record["state"], &record["draft"], &record["branch"], &record["base"]),
        (&json!("Fix it"), &json!("open"), &json!(true), &json!("fix/1"), &json!("main"))
    );
    assert_eq!(sample.git().refname_to_id("refs/pull/1/head").expect("a ref").to_string(), tip);
}

#[tokio::test]
async fn the_ref_moves_with_the_branch_and_stays_when_the_branch_is_deleted() {
    let sample = Sample::new();
    sample.commit("fix/1", "main");
    let forge = forge(&sample);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    let tip = sample.commit("fix/1", "main");
    forge.pull_request(&web(), 1).await.expect("read");
    assert_eq!(sample.git().refname_to_id("refs/pull/1/head").expect("a ref").to_string(), tip);
    sample.delete_branch("fix/1");
    assert_eq!(forge.pull_request(&web(), 1).await.expect("read").head, tip);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_make_one_pull_request_for_each_branch() {
    let sample = Sample::new();
    for branch in ["fix/1", "fix/2", "fix/3"] {
        sample.commit(branch, "main");
    }
    let opens: Vec<_> = (0..24)
        .map(|n| {
            // A forge each, as in separate processes.
            let forge = forge(&sample);
            tokio::spawn(async move {
                let branch = format!("fix/{}", n % 3 + 1);
                let opened = forge.open_pull_request(&web(), &from(&branch)).await.expect("opened").pull_request;
                (branch, opened.number)
            })
        })
        .collect();
    let mut numbers = std::collections::BTreeSet::new();
    for open in opens {
        numbers.insert(open.await.expect("no panic"));
    }
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    assert_eq!(names(&sample), [".lock", "1.json", "1.md", "2.json", "2.md", "3.json", "3.md"]);
}

#[tokio::test]
async fn what_a_crash_left_is_not_taken_for_a_pull_request_and_its_number_is_not_used_again() {
    let sample = Sample::new();
    let tip = sample.commit("fix/1", "main");
    fs::create_dir(sample.pulls()).expect("a folder");
    fs::write(sample.pulls().join("1.md"), "half").expect("written");
    let id = tip.parse().expect("an id");
    sample.git().reference("refs/pull/2/head", id, false, "a crash").expect("a ref");
    let forge = forge(&sample);
    assert_eq!(forge.find_pull_request(&web(), "fix/1").await.expect("a look"), None);
    assert_eq!(forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened").pull_request.number, 3);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_everything_that_could_make_a_second_pull_request() {
    let sample = Sample::new();
    sample.commit("fix/1", "main");
    let forge = forge(&sample);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    let path = sample.pulls().join("1.json");
    let sound = fs::read_to_string(&path).expect("a record");
    for broken in ["", "{", &sound.replace("\"open\"", "\"opened\""), &sound.replace("1,", "2,")] {
        fs::write(&path, broken).expect("written");
        for error in [
            forge.find_pull_request(&web(), "fix/1").await.expect_err("broken"),
            forge.pull_request(&web(), 1).await.expect_err("broken"),
            forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("broken"),
        ] {
            let says = matches!(&error, ForgeError::Refused { what } if what.contains("web.pulls/1.json"));
            assert!(says, "{broken}: {error}");
        }
    }
    assert_eq!(names(&sample), [".lock", "1.json", "1.md"]);
}

#[tokio::test]
async fn a_state_that_a_person_wrote_is_believed() {
    let sample = Sample::new();
    sample.commit("fix/1", "main");
    let forge = forge(&sample);
    let opened = forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened").pull_request;
    edit(&sample.pulls().join("1.json"), |record| {
        record["state"] = json!("merged");
        record["draft"] = json!(false);
        record["my own note"] = json!("kept by nobody, harmful to nobody");
    });
    let read = forge.pull_request(&web(), 1).await.expect("read");
    assert_eq!((read.state, read.draft, read.head), (PullRequestState::Merged, false, opened.head));
}

#[tokio::test]
async fn labels_and_reviewers_are_written_once() {
    let sample = Sample::new();
    sample.commit("fix/1", "main");
    let forge = forge(&sample);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    let (labels, reviewers) = (["bug".to_owned(), "auto".to_owned()], ["alice".to_owned()]);
    for _ in 0..2 {
        assert_eq!(forge.decorate(&web(), 1, &labels, &reviewers).await, Vec::<String>::new());
    }
    let record: Value = serde_json::from_slice(&fs::read(sample.pulls().join("1.json")).expect("read")).expect("JSON");
    assert_eq!((&record["labels"], &record["reviewers"]), (&json!(["bug", "auto"]), &json!(["alice"])));
}

#[tokio::test]
async fn a_merge_with_git_is_noticed_and_written_down_whether_the_branch_is_still_there_or_not() {
    for deleted in [false, true] {
        let sample = Sample::new();
        let tip = sample.commit("fix/1", "main");
        let forge = forge(&sample);
        forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
        // A person's commit on top, as a merge makes one.
        sample.branch("main", "fix/1");
        sample.commit("main", "main");
        if deleted {
            sample.delete_branch("fix/1");
        }
        let found = forge.find_pull_request(&web(), "fix/1").await.expect("a look").expect("one");
        assert_eq!((found.state, found.head), (PullRequestState::Merged, tip));
        let record = fs::read_to_string(sample.pulls().join("1.json")).expect("a record");
        assert!(record.contains("\"merged\""), "{record}");
    }
}

#[tokio::test]
async fn a_branch_that_was_merged_and_went_on_gets_another_pull_request() {
    let sample = Sample::new();
    sample.commit("fix/1", "main");
    let forge = forge(&sample);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    sample.branch("main", "fix/1");
    forge.pull_request(&web(), 1).await.expect("read");
    sample.commit("fix/1", "main");
    let second = forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    assert!(second.created && second.pull_request.number == 2, "{second:?}");
}

#[tokio::test]
async fn an_old_commit_that_libgit2_cannot_read_is_not_in_the_way() {
    let sample = Sample::new();
    let git = sample.git();
    let tree = git.treebuilder(None).and_then(|tree| tree.write()).expect("a tree");
    let commit = |parent: &str, who: &str| {
        let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\ntext\n");
        let id = git.odb().and_then(|odb| odb.write(git2::ObjectType::Commit, text.as_bytes()));
        id.expect("a commit")
    };
    let old = commit("", "Ada ada@example.com 1700000000 +0000");
    let main = commit(&format!("parent {old}\n"), "Ada <ada@example.com> 1700000001 +0000");
    git.reference("refs/heads/main", main, true, "a test").expect("a ref");
    sample.commit("fix/1", "main");
    forge(&sample).open_pull_request(&web(), &from("fix/1")).await.expect("opened");
}

#[tokio::test]
async fn a_branch_name_that_is_no_ref_is_refused() {
    let sample = Sample::new();
    for branch in ["../../HEAD", "a..b", "", "x.lock"] {
        let error = forge(&sample).open_pull_request(&web(), &from(branch)).await.expect_err(branch);
        assert!(matches!(error, ForgeError::Refused { .. }), "{branch}: {error}");
    }
}

#[tokio::test]
async fn the_remote_is_an_absolute_file_address_that_git_can_clone() {
    let sample = Sample::new();
    let remote = forge(&sample).remote(&web()).await.expect("a remote");
    assert!(remote.url.starts_with("file:///") && remote.authorization.is_none(), "{remote:?}");
    let into = tempfile::TempDir::new().expect("a folder");
    let clone = git2::Repository::clone(&remote.url, into.path()).expect("a clone");
    assert!(clone.find_reference("refs/remotes/origin/main").is_ok());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let sample = Sample::new();
    let error = Directory::new(sample.root().join("nowhere")).expect_err("no folder");
    assert!(matches!(&error, ForgeError::NotFound { what } if what.contains("/nowhere")), "{error}");
    let error = Directory::new(sample.bare().join("HEAD")).expect_err("a file");
    assert!(error.to_string().contains("not a folder"), "{error}");
}
