//! Fetching into mirrors, and asking them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use patchwright::forge::Remote;
use patchwright::git::GitError;
use patchwright::git::mirror::Mirror;
use patchwright::git::objects::{Rules, between, log, pin, snapshot};

use super::fixture::{Repo, Side, id, supervisor};

#[tokio::test]
async fn a_fetch_brings_branches_and_tags() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    repo.tag("v1", &head);
    let mirror = side.mirror_of(&repo).await;
    assert_eq!(mirror.head("main").await.unwrap().as_ref(), Some(&head));
    assert_eq!(mirror.resolve("v1").await.unwrap(), Some(head));
}

#[tokio::test]
async fn a_second_fetch_brings_only_what_is_new_and_a_third_transfers_nothing() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let before = packs(&mirror).len();
    let second = repo.commit("second", &[("a", "2\n")]);
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(mirror.head("main").await.unwrap().as_deref(), Some(second.as_str()));
    assert!(mirror.is_ancestor(&first, &second).await.unwrap());
    assert!(!mirror.is_ancestor(&second, &first).await.unwrap());
    assert_eq!(packs(&mirror).len(), before + 1);
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(packs(&mirror).len(), before + 1);
}

/// The packs of a mirror; each fetch that transfers something makes one.
fn packs(mirror: &Mirror) -> Vec<PathBuf> {
    let files = fs::read_dir(mirror.path().join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "pack")).collect()
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
    tokio::join!(fetch(), fetch(), fetch(), fetch());
    assert_eq!(side.mirror().head("main").await.unwrap(), Some(head));
    assert_eq!(packs(&side.mirror()).len(), 1, "one did the work for all");
}

#[tokio::test]
async fn a_mirror_that_stays_in_use_is_given_up_in_time_and_on_cancel() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror();
    let lock = fs::File::create(mirror.path().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let path = std::env::var("PATH").unwrap();
    let (home, short) = (side.folder("home"), Duration::from_millis(60));
    let impatient = patchwright::git::Git::new(&path, home, supervisor(), short, side.cancel.clone());
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
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(mirror.head("main").await.unwrap(), Some(head));
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
    mirror.fetch(&side.git, &remote).await.unwrap();
    assert_eq!(mirror.head("main").await.unwrap(), Some(head));
}

#[tokio::test]
async fn an_empty_repository_is_fetched_as_empty() {
    let (repo, side) = (Repo::new(), Side::new());
    let mirror = side.mirror_of(&repo).await;
    assert_eq!(mirror.head("main").await.unwrap(), None);
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

#[tokio::test]
async fn what_somebody_is_writing_now_survives_a_fetch_and_what_a_killed_one_left_does_not() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let file = |name: &str| mirror.path().join("objects").join(name);
    fs::write(file("tmp_object_git2_now"), "x").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::create(file("tmp_object_git2_old")).unwrap().set_modified(long_ago).unwrap();
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert!(file("tmp_object_git2_now").exists() && !file("tmp_object_git2_old").exists());
}

#[tokio::test]
async fn work_is_taken_while_others_fetch_into_the_same_mirror() {
    let (repo, side) = (Repo::new(), Side::new());
    let base = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dir = side.checkout(&mirror, &base, "checkout").await;
    for n in 0..200 {
        fs::write(dir.join(format!("new{n}")), format!("{n}\n").repeat(1000)).unwrap();
    }
    let draft = side.draft(&mirror);
    let taking = async {
        let taken = snapshot(&draft, &base, &dir, &Rules::strict(1 << 20, 200, 64 << 20)).await?;
        between(&draft, &base, &taken.tree, &base).await
    };
    let remote = repo.remote();
    let fetching = async {
        loop {
            mirror.fetch(&side.git, &remote).await.unwrap();
        }
    };
    tokio::select! {
        taken = taking => assert!(taken.is_ok(), "{taken:?}"),
        () = fetching => {},
    }
}

#[tokio::test]
async fn many_packs_become_few_and_nothing_is_lost_even_if_no_ref_reaches_it() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let repository = git2::Repository::open_bare(mirror.path()).unwrap();
    let mut ids = Vec::new();
    for n in 0..51 {
        let id = repository.blob(format!("{n}\n").as_bytes()).unwrap();
        let mut pack = repository.packbuilder().unwrap();
        pack.insert_object(id, None).unwrap();
        pack.write(&mirror.path().join("objects/pack"), 0o444).unwrap();
        ids.push(id);
    }
    assert!(packs(&mirror).len() > 50);
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert!(packs(&mirror).len() < 10, "{:?}", packs(&mirror));
    let repository = git2::Repository::open_bare(mirror.path()).unwrap();
    assert!(ids.iter().all(|id| repository.find_blob(*id).is_ok()));
}

#[tokio::test]
async fn a_damaged_mirror_is_said_to_be_one_that_can_be_removed() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let head = mirror.head("main").await.unwrap().unwrap();
    let pack = packs(&mirror).remove(0);
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&pack, "damaged").unwrap();
    let remedy = format!("remove {}: it is made again", mirror.path().display());
    let read = log(&mirror, &head, 1).await.unwrap_err().to_string();
    assert!(read.contains(&remedy), "{read}");
}

#[tokio::test]
async fn sloppy_old_commits_do_not_make_a_repository_unusable() {
    let (repo, side) = (Repo::new(), Side::new());
    let repository = git2::Repository::open_bare(repo.path()).unwrap();
    let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap().id();
    for (n, who) in [
        "Ada <ada@example.test> 0000000123 +0000",
        "Ada ada@example.test 1700000000 +0000",
        "<ada@example.test> 1700000000 +0000",
        "Ada > <ada@example.test> 1700000000 +0000",
        "Ada <ada@example.test> 18446744073709551615 +0000",
        "Ada <ada@example.test> 17x0 +0000",
    ]
    .iter()
    .enumerate()
    {
        let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nold\n");
        let id = repository.odb().unwrap().write(git2::ObjectType::Commit, text.as_bytes()).unwrap();
        fs::write(repo.path().join(format!("refs/heads/old{n}")), format!("{id}\n")).unwrap();
    }
    let head = repo.commit("first", &[("a", "1\n")]);
    assert_eq!(side.mirror_of(&repo).await.head("main").await.unwrap(), Some(head));
}
