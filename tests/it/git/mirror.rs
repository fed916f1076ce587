//! Fetching into mirrors, and asking them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use patchwright::forge::Remote;
use patchwright::git::GitError;
use patchwright::git::mirror::Mirror;
use patchwright::git::objects::{log, pin};

use super::fixture::{Repo, Side, id};

#[tokio::test]
async fn a_fetch_brings_the_default_branch_and_says_what_it_is() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    let fetched = side.mirror().fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(fetched.default_branch.as_deref(), Some("main"));
    assert_eq!(fetched.default_branch_head, Some(head));
    assert!(fetched.changed);
}

#[tokio::test]
async fn a_second_fetch_brings_only_what_is_new_and_a_third_transfers_nothing() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let second = repo.commit("second", &[("a", "2\n")]);
    assert!(mirror.fetch(&side.git, &repo.remote()).await.unwrap().changed);
    assert_eq!(mirror.head("main").await.unwrap().as_deref(), Some(second.as_str()));
    assert!(mirror.is_ancestor(&first, &second).await.unwrap());
    assert!(!mirror.is_ancestor(&second, &first).await.unwrap());
    assert!(!mirror.fetch(&side.git, &repo.remote()).await.unwrap().changed);
}

#[tokio::test]
async fn branches_that_are_gone_are_pruned_rewritten_ones_follow_and_our_own_refs_stay() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a", "1\n")]);
    repo.branch("topic", &first);
    let mirror = side.mirror_of(&repo).await;
    pin(&mirror, &first, "refs/patchwright/job-1/attempt-1").await.unwrap();
    repo.delete_branch("topic");
    repo.delete_branch("main");
    // `topic/x` can only be stored once `topic` is gone.
    let other = repo.commit("another first", &[("b", "1\n")]);
    repo.branch("topic/x", &other);
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(mirror.head("topic").await.unwrap(), None);
    assert_eq!(mirror.head("topic/x").await.unwrap(), Some(other.clone()));
    assert_eq!(mirror.head("main").await.unwrap(), Some(other));
    let repository = git2::Repository::open_bare(mirror.path()).unwrap();
    assert!(repository.find_reference("refs/patchwright/job-1/attempt-1").is_ok());
}

#[tokio::test]
async fn a_release_is_resolved_by_tag_branch_or_commit_id_and_revision_syntax_means_nothing() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a", "1\n")]);
    let second = repo.commit("second", &[("a", "2\n")]);
    repo.tag("v1", &first);
    repo.annotated_tag("v2", &second);
    let mirror = side.mirror_of(&repo).await;
    for (rev, expected) in [
        ("v1", Some(&first)),
        ("v2", Some(&second)),
        ("main", Some(&second)),
        (first.as_str(), Some(&first)),
        (&first[..12], Some(&first)),
        ("main~1", None),
        ("HEAD", None),
        (":/first", None),
        ("../../config", None),
        ("v3", None),
        ("", None),
        (&"0".repeat(40), None),
    ] {
        assert_eq!(mirror.resolve(rev).await.unwrap().as_ref(), expected, "{rev}");
    }
}

#[tokio::test]
async fn fetches_at_the_same_time_all_succeed() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    let fetch = async || {
        let mirror = Mirror::open(&side.folder("mirrors"), &id("acme/web")).unwrap();
        mirror.fetch(&side.git, &repo.remote()).await.unwrap()
    };
    let (a, b, c, d) = tokio::join!(fetch(), fetch(), fetch(), fetch());
    for fetched in [&a, &b, &c, &d] {
        assert_eq!(fetched.default_branch_head.as_ref(), Some(&head));
    }
    assert_eq!([a, b, c, d].iter().filter(|fetched| fetched.changed).count(), 1, "one did the work for all");
}

#[tokio::test]
async fn a_mirror_that_stays_in_use_is_given_up_in_time_and_on_cancel() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror();
    let lock = fs::File::create(mirror.path().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let path = std::env::var("PATH").unwrap();
    let impatient =
        patchwright::git::Git::new(&path, side.folder("home"), Duration::from_millis(60), side.cancel.clone());
    let error = mirror.fetch(&impatient, &repo.remote()).await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    side.cancel.cancel();
    assert_eq!(mirror.fetch(&side.git, &repo.remote()).await.unwrap_err(), GitError::Cancelled);
}

#[tokio::test]
async fn a_first_fetch_that_was_killed_is_made_good_by_the_next() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    // What a killed git leaves behind: temporary packs, and locks that make the next git give up.
    let dying = Side::with_wrapper(
        r#"case " $* " in *" fetch "*)
             mkdir -p objects/incoming-1 refs/heads
             touch objects/pack/tmp_pack_1 packed-refs.lock refs/heads/main.lock shallow.lock HEAD.lock config.lock
             kill -9 $$;;
           esac
           exec "$REAL" "$@""#,
    );
    let mirror = dying.mirror();
    let error = mirror.fetch(&dying.git, &repo.remote()).await.unwrap_err();
    assert!(matches!(error, GitError::Other { .. }), "{error}");
    assert!(mirror.path().join("refs/heads/main.lock").exists(), "the wrapper did leave something behind");
    let fetched = mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(fetched.default_branch_head, Some(head));
    assert!(!mirror.path().join("objects/pack/tmp_pack_1").exists());
}

#[tokio::test]
async fn a_fetch_that_is_cancelled_ends_at_once_and_the_next_succeeds() {
    let repo = Repo::new();
    let head = repo.commit("first", &[("a", "1\n")]);
    let hanging = Side::with_wrapper(
        r#"case " $* " in *" fetch "*) echo began > "$DIR/began"; exec sleep 600;; esac
           exec "$REAL" "$@""#,
    );
    let mirror = hanging.mirror();
    let began = hanging.path().join("began");
    let cancel = async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !began.exists() {
            assert!(tokio::time::Instant::now() < deadline, "the fetch did not begin");
            tokio::task::yield_now().await;
        }
        hanging.cancel.cancel();
    };
    let remote = repo.remote();
    let (result, ()) = tokio::join!(mirror.fetch(&hanging.git, &remote), cancel);
    assert_eq!(result.unwrap_err(), GitError::Cancelled);
    let side = Side::new();
    assert_eq!(mirror.fetch(&side.git, &remote).await.unwrap().default_branch_head, Some(head));
}

#[tokio::test]
async fn an_empty_repository_is_fetched_as_empty() {
    let (repo, side) = (Repo::new(), Side::new());
    let fetched = side.mirror().fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(fetched.default_branch_head, None);
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let side = Side::new();
    let remote = Remote { url: "file:///nonexistent/web.git".to_owned(), authorization: None };
    let error = side.mirror().fetch(&side.git, &remote).await.unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_sha256_repository_is_refused_by_name() {
    let side = Side::new();
    let path = side.folder("theirs");
    super::fixture::agent_git(&path, &["init", "--quiet", "--object-format=sha256", "--initial-branch=main", "."]);
    super::fixture::agent_git(&path, &["commit", "--quiet", "--allow-empty", "--message=first"]);
    let remote = Remote { url: format!("file://{}", path.display()), authorization: None };
    let error = side.mirror().fetch(&side.git, &remote).await.unwrap_err();
    assert!(matches!(&error, GitError::Unsupported { what } if what.contains("SHA-256")), "{error}");
}

#[tokio::test]
async fn a_mirror_is_for_its_owner_only() {
    let side = Side::new();
    let mode = fs::metadata(side.mirror().path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn the_history_is_read_newest_first() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    repo.commit("second\n\nwith a body", &[("a", "2\n")]);
    let head = repo.commit("third", &[("a", "3\n")]);
    let mirror = side.mirror_of(&repo).await;
    let subjects: Vec<_> = log(&mirror, &head, 2).await.unwrap().into_iter().map(|commit| commit.subject).collect();
    assert_eq!(subjects, ["third", "second"]);
}

#[tokio::test]
async fn a_folder_with_spaces_in_its_name_is_no_problem() {
    let side = Side::new();
    let repo = Repo::at(&side.folder("my repositories").join("web.git"));
    let head = repo.commit("first", &[("a", "1\n")]);
    let mirror = Mirror::open(&side.folder("my mirrors"), &id("acme/web")).unwrap();
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    let dest = side.checkout(&mirror, &head, "my checkout").await;
    assert!(dest.join("a").exists());
}
