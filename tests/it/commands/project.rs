//! What a `[[project]]` and the repository's own `.patchwright.toml` can say, seen in the jobs that come of it.
//!
//! Invariant: the repository is a real one; what a setting did is read from the job's history or the pushed branch.

use patchwright::outcome::{Abstained, Outcome};

use crate::git::fixture::Repo;
use crate::program::{Described, FIXER, Service};

async fn opened(described: Described) -> (Service, String) {
    let service = described.start().await;
    let job = service.work("1").await;
    let history = service.history(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}\n{history}", job.outcome);
    (service, history)
}

fn names_at(path: &std::path::Path, branch: &str) -> Vec<String> {
    let repository = git2::Repository::open_bare(path).unwrap();
    let tree = repository.find_reference(&format!("refs/heads/{branch}")).unwrap().peel_to_tree().unwrap();
    let mut names = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        names.push(format!("{folder}{}", entry.name().unwrap()));
        git2::TreeWalkResult::Ok
    })
    .unwrap();
    names
}

#[tokio::test]
async fn the_repositorys_own_file_names_its_tests_and_the_agents_version_of_it_does_not() {
    let described = Described::with_agent(&format!("{FIXER}\necho 'test = \"exit 9\"' > .patchwright.toml"))
        .without_test()
        .file(".patchwright.toml", "test = \"echo by-the-repository && sh tests/run.sh\"\n");
    let (_, history) = opened(described).await;
    assert_eq!(history.matches("proof by-the-repository").count(), 1, "{history}");
    assert_eq!(history.matches("baseline by-the-repository").count(), 1, "{history}");
}

#[tokio::test]
async fn a_repositorys_file_that_reaches_for_the_operators_keys_is_told_and_not_used() {
    let described = Described::with_agent(FIXER).file(".patchwright.toml", "agent = \"claude\"\n");
    let (_, history) = opened(described).await;
    assert!(history.contains("`agent` can be set only by the operator"), "{history}");
}

#[tokio::test]
async fn tests_of_a_monorepos_part_run_in_its_folder() {
    let described = Described::with_agent(FIXER)
        .without_test()
        .project("path = \"parts/shop\"\ntest = \"sh run.sh\"")
        .file("parts/shop/run.sh", "pwd | grep -q 'parts/shop$' && cd ../.. && sh tests/run.sh && echo in-the-part\n");
    let (_, history) = opened(described).await;
    assert_eq!(history.matches("in-the-part").count(), 2, "{history}");
}

#[tokio::test]
async fn a_path_that_a_link_leads_out_of_the_checkout_is_refused() {
    let mut service = Described::with_agent(FIXER).project("path = \"part\"").prepare().await;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().as_bytes();
    service.repo.commit_entries("main", "A link", &[("part", 0o120_000, target), ("app.sh", 0o100_644, b"\n")]);
    service.start().await;
    let job = service.work("1").await;
    let outcome = job.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
    assert!(outcome.contains("`path` of project `web` is part, and acme/web has no such folder"), "{outcome}");
}

#[tokio::test]
async fn what_the_setup_leaves_behind_is_not_published_and_is_there_for_the_tests() {
    let described = Described::with_agent(&format!("[ -e vendor/made ] || exit 1\n{FIXER}"))
        .without_test()
        .project("setup = \"mkdir vendor && echo x > vendor/made\"\ntest = \"[ -e vendor/made ] && sh tests/run.sh\"");
    let (service, _) = opened(described).await;
    let names = names_at(service.repo.path(), "patchwright/sentry-1");
    assert_eq!(names, ["app.sh", "tests", "tests/case_zero.sh", "tests/run.sh"]);
}

#[tokio::test]
async fn the_setup_of_the_agents_checkout_is_told_with_what_it_prints() {
    let described = Described::with_agent(FIXER)
        .without_test()
        .project("setup = \"echo made-for-$(basename $HOME)\"\ntest = \"sh tests/run.sh\"");
    let (_, history) = opened(described).await;
    let told = history.find("prepares the agent's checkout");
    let printed = history.find("made-for-agent");
    assert!(told.is_some() && told < printed, "{history}");
    let runs = ["made-for-baseline", "made-for-agent", "made-for-proof"].map(|line| history.matches(line).count());
    // The command itself is shown as it is written, so only its output has these words.
    assert_eq!(runs, [1, 1, 1], "{history}");
}

#[tokio::test]
async fn a_test_command_is_found_where_none_is_named() {
    let described = Described::with_agent(FIXER).without_test().file("Makefile", "test:\n\tsh tests/run.sh\n");
    let (_, history) = opened(described).await;
    assert!(history.contains("`make test` passed"), "{history}");
}

#[tokio::test]
async fn without_tests_the_job_ends_before_any_agent_is_paid() {
    let service = Described::with_agent(FIXER).without_test().start().await;
    let job = service.work("1").await;
    let Some(Outcome::Abstained { why: Abstained::NoTests { what } }) = &job.outcome else {
        panic!("{:?}", job.outcome)
    };
    assert!(what.starts_with("set `test` for acme/web in [[project]] or in its `.patchwright.toml`"), "{what}");
    let history = service.history(job.id).await;
    assert!(!history.contains("agent `test` starts"), "{history}");
}

#[tokio::test]
async fn the_failing_releases_commit_is_worked_on_where_it_is_asked_for() {
    let mut service = Described::with_agent(FIXER).project("base = \"release\"").prepare().await;
    let release = service.repo.tip("main").unwrap();
    service.repo.commit("Unrelated and later", &[("later.txt", "later\n")]);
    service.start().await;
    let mut alert = crate::program::alert("1", "rule");
    alert["data"]["event"]["release"] = format!("web@{release}").into();
    let job = service.done(service.post("event_alert", &alert).await.job()).await;
    let history = service.history(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}\n{history}", job.outcome);
    assert!(history.contains(&format!("works on {}: the commit of the failing release", &release[..12])), "{history}");
    let repository = git2::Repository::open_bare(service.repo.path()).unwrap();
    let tip = service.repo.tip("patchwright/sentry-1").unwrap();
    let commit = repository.find_commit(git2::Oid::from_str(&tip).unwrap()).unwrap();
    assert_eq!(commit.parent_id(0).unwrap().to_string(), release);
}

#[tokio::test]
async fn a_related_repository_that_changed_gets_a_pull_request_and_tests_of_its_own() {
    let agent = format!("{FIXER}\necho fixed > ../related/acme+lib/lib.txt");
    let mut service = Described::with_agent(&agent)
        .project(
            "related = [\"acme/lib\"]\n[[project]]\nsentry = \"lib\"\nrepository = \"acme/lib\"\nagent = \"test\"\n\
             test = \"[ -e lib.txt ] && echo tests-of-lib\"",
        )
        .prepare()
        .await;
    let lib = Repo::at(&service.folder().join("forge/acme/lib.git"));
    lib.commit("A library", &[("lib.txt", "broken\n")]);
    service.start().await;
    let job = service.work("1").await;
    let history = service.history(job.id).await;
    let Some(Outcome::Opened { pull_requests }) = &job.outcome else { panic!("{:?}\n{history}", job.outcome) };
    let repositories: Vec<&str> = pull_requests.iter().map(|opened| opened.repository.as_str()).collect();
    assert_eq!(repositories, ["acme/web", "acme/lib"]);
    assert_eq!(history.matches("proof tests-of-lib").count(), 2, "{history}");
    assert_eq!(names_at(lib.path(), "patchwright/sentry-1"), ["lib.txt"]);
    let body = std::fs::read_to_string(service.folder().join("forge/acme/lib.pulls/1.md")).unwrap();
    assert!(body.contains("tests-of-lib"), "{body}");
}
