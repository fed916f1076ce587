//! From a signed alert over HTTP to a draft pull request, through the real program.

use patchwright::outcome::{Abstained, Ignored, Outcome};

use crate::fake::github::State;
use crate::program::{Described, FIXER, alert};

#[tokio::test]
async fn a_signed_alert_ends_as_a_draft_pull_request_on_github() {
    let service = Described::with_agent(FIXER)
        .on_github()
        .config("[publish]\nlabels = [\"patchwright\"]\n[git]\nsign_off = true\ntrailers = [\"Team: web\"]")
        .start()
        .await;
    let answer = service.post("event_alert", &alert("101", "rule")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let job = service.done(answer.job()).await;

    let Some(Outcome::Opened { pull_requests }) = &job.outcome else {
        panic!("{:?}\n{}", job.outcome, service.history(job.id).await)
    };
    let pulls = service.github.as_ref().unwrap().pulls("acme/web");
    assert_eq!(pulls.len(), 1);
    let pull = &pulls[0];
    assert!(pull.draft && pull.state == State::Open && pull_requests[0].draft);
    assert_eq!(pull.branch, "patchwright/sentry-101");
    assert_eq!(pull.labels, ["patchwright"]);
    assert!(pull.body.contains("sh tests/run.sh") && pull.body.contains("the divisor may be zero"), "{}", pull.body);
    // What was pushed is on the branch, made by us, and holds the agent's files and nothing else.
    assert_eq!(service.repo.tip(&pull.branch).as_deref(), Some(pull.head.as_str()));
    let repository = git2::Repository::open_bare(service.repo.path()).unwrap();
    let commit = repository.find_commit(git2::Oid::from_str(&pull.head).unwrap()).unwrap();
    assert_eq!(commit.parent_id(0).unwrap().to_string(), service.repo.tip("main").unwrap());
    let message = commit.message().unwrap();
    assert!(
        message.contains("Signed-off-by: Patchwright <patchwright@localhost>") && message.contains("Team: web"),
        "{message}"
    );
    let tree = commit.tree().unwrap();
    let mut paths = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        paths.push(format!("{folder}{}", entry.name().unwrap()));
        git2::TreeWalkResult::Ok
    })
    .unwrap();
    assert_eq!(paths, ["app.sh", "tests", "tests/case_zero.sh", "tests/run.sh"]);
}

#[tokio::test]
async fn the_same_path_ends_on_the_directory_forge() {
    let service = Described::with_agent(FIXER).start().await;
    let answer = service.post("event_alert", &alert("102", "rule")).await;
    let job = service.done(answer.job()).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{}", service.history(job.id).await);
    assert_eq!(service.pull_requests().len(), 1);
    // Nothing of the run is left behind.
    service.no_workspace_is_left().await;
}

#[tokio::test]
async fn two_alerts_for_one_issue_are_one_job() {
    let service = Described::with_agent(FIXER).start().await;
    let (one, two) = (alert("103", "first rule"), alert("103", "second rule"));
    let (first, second) = tokio::join!(service.post("event_alert", &one), service.post("event_alert", &two));
    assert_eq!(first.job(), second.job());
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 202]);
    service.done(first.job()).await;
    assert_eq!(service.pull_requests().len(), 1);
    let again = service.post("event_alert", &one).await;
    assert_eq!((again.status, again.body["outcome"].as_str()), (200, Some("ignored")), "{again:?}");
}

#[tokio::test]
async fn a_change_that_breaks_the_tests_is_not_published() {
    let service = Described::with_agent("echo 'echo 7' > app.sh").start().await;
    let answer = service.post("event_alert", &alert("104", "rule")).await;
    let job = service.done(answer.job()).await;
    let Some(Outcome::Abstained { why: Abstained::TestsFailed { what } }) = &job.outcome else {
        panic!("{:?}", job.outcome)
    };
    assert!(what.contains("passed before the change and failed with exit code"), "{what}");
    assert!(service.pull_requests().is_empty());
    assert_eq!(service.repo.tip("patchwright/sentry-104"), None);
}

#[tokio::test]
async fn an_alert_of_another_environment_is_ignored_and_a_later_one_is_worked_on() {
    let service = Described::with_agent(FIXER).project("environments = [\"production\"]").start().await;
    let mut staging = alert("105", "rule");
    staging["data"]["event"]["environment"] = "staging".into();
    let answer = service.post("event_alert", &staging).await;
    assert_eq!((answer.status, answer.body["outcome"].as_str()), (200, Some("ignored")), "{answer:?}");
    let store = service.store().await;
    let kept = patchwright::store::Store::delivery(&store, answer.body["delivery"].as_i64().unwrap()).await.unwrap();
    let expected = Outcome::Ignored { why: Ignored::Environment { environment: "staging".into() } };
    assert_eq!(kept.unwrap().outcome, expected);
    let answer = service.post("event_alert", &alert("105", "rule")).await;
    assert!(matches!(service.done(answer.job()).await.outcome, Some(Outcome::Opened { .. })));
}

/// An agent whose fix names how often it was called.
const COUNTING: &str = r#"
n=$(($(cat "$COUNTER" 2>/dev/null || echo 0) + 1)); echo $n > "$COUNTER"
printf 'if [ "$2" -eq 0 ]; then echo undefined; exit 0; fi\necho $(($1 / $2)) # %s\n' $n > app.sh
printf '{"verdict": "fix", "summary": "fix number %s"}' $n > "$PATCHWRIGHT_RESULT_FILE"
"#;

#[tokio::test]
async fn a_fresh_retry_brings_branch_and_text_of_the_same_pull_request_up_to_date() {
    let counter = tempfile::NamedTempFile::new().unwrap();
    let agent = COUNTING.replace("$COUNTER", counter.path().to_str().unwrap());
    let service = Described::with_agent(&agent).on_github().start().await;
    let job = service.post("event_alert", &alert("106", "rule")).await.job();
    service.done(job).await;
    let first = service.github.as_ref().unwrap().pulls("acme/web");
    assert!(first[0].body.contains("fix number 1"), "{}", first[0].body);

    assert!(service.run(&["jobs", "retry", &job.to_string(), "--fresh"]).await.status.success());
    let second = crate::program::eventually(async || {
        let pulls = service.github.as_ref().unwrap().pulls("acme/web");
        pulls[0].body.contains("fix number 2").then_some(pulls)
    });
    let second = second.await.expect("the text is brought up to date");
    assert_eq!(second.len(), 1, "a second pull request was opened");
    assert_ne!(second[0].head, first[0].head);
    assert_eq!(service.repo.tip("patchwright/sentry-106"), Some(second[0].head.clone()));
}
