//! The GitHub forge against a fake GitHub that refuses what the real one refuses.
//!
//! Invariant: how many requests were sent, and how many pull requests came of them, is counted at the server.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has to fail")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use patchwright::forge::github::{GitHub, Timing};
use patchwright::forge::{Forge, ForgeError, NewPullRequest, PullRequestState};
use patchwright::redact::Redactor;
use secrecy::{ExposeSecret, SecretString};

use crate::fake::github::{FakeGitHub, Fault, LOGIN, State};
use crate::forge_directory::contract;
use crate::forge_directory::sample::{Sample, from, web};

/// Long enough for a busy machine, short enough to wait for.
const TIMING: Timing = Timing { call: Duration::from_secs(20), pause: Duration::from_millis(1) };
/// Where the server never answers.
const IMPATIENT: Timing = Timing { call: Duration::from_secs(5), pause: Duration::from_millis(1) };

/// A GitHub with `acme/web`, whose branch `fix/1` is ahead of `main`.
async fn github() -> (FakeGitHub, Sample) {
    let (fake, sample) = (FakeGitHub::start().await, Sample::new());
    fake.add_repository("acme/web", &sample.bare());
    sample.commit("fix/1", "main");
    (fake, sample)
}

fn client(fake: &FakeGitHub) -> GitHub {
    client_with(fake, Some(fake.token()), TIMING)
}

fn client_with(fake: &FakeGitHub, token: Option<&str>, timing: Timing) -> GitHub {
    GitHub::with_timing(&fake.api_url(), token.map(SecretString::from), timing).expect("a client")
}

/// How many pull requests were asked for.
fn posts(fake: &FakeGitHub) -> usize {
    fake.requests().iter().filter(|received| received.method == "POST" && received.path.ends_with("/pulls")).count()
}

#[tokio::test]
async fn github_keeps_the_contract() {
    let (fake, sample) = (FakeGitHub::start().await, Sample::new());
    fake.add_repository("acme/web", &sample.bare());
    contract::is_kept_by(&client(&fake), &sample, |number| fake.close_pull(number)).await;
}

#[tokio::test]
async fn github_enterprise_keeps_the_contract() {
    let (fake, sample) = (FakeGitHub::start().await, Sample::new());
    fake.add_repository("acme/web", &sample.bare());
    let token = Some(SecretString::from(fake.token()));
    let forge = GitHub::with_timing(&fake.enterprise_api_url(), token, TIMING).expect("a client");
    contract::is_kept_by(&forge, &sample, |number| fake.close_pull(number)).await;
    assert!(fake.requests().iter().all(|received| received.path.starts_with("/api/v3/")), "{:?}", fake.requests());
}

#[tokio::test]
async fn a_lost_answer_to_opening_makes_one_pull_request_and_one_request_for_it() {
    let (fake, _sample) = github().await;
    fake.fail_next_at("POST", "/pulls", Fault::DropAfter);
    let opened = client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("opened").pull_request;
    assert_eq!(opened.number, 1);
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 1));
}

#[tokio::test]
async fn a_request_that_was_not_carried_out_is_sent_again_after_a_look() {
    let (fake, _sample) = github().await;
    fake.fail_next_at("POST", "/pulls", Fault::BadGateway);
    fake.fail_next_at("POST", "/pulls", Fault::Drop);
    client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 3));
    let requests = fake.requests();
    let first = requests.iter().position(|received| received.method == "POST").expect("a POST");
    let between = requests.iter().skip(first + 1).take_while(|received| received.method != "POST");
    let looked = |received: &crate::fake::github::Received| received.path.contains("head=acme%3Afix%2F1&state=all");
    assert!(between.clone().any(looked), "{:?}", between.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_last_try_too_is_followed_by_a_look() {
    let (fake, _sample) = github().await;
    for fault in [Fault::Drop, Fault::Drop, Fault::DropAfter] {
        fake.fail_next_at("POST", "/pulls", fault);
    }
    client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("found");
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 3));
}

#[tokio::test]
async fn an_answer_that_is_not_json_does_not_make_a_second_pull_request() {
    let (fake, _sample) = github().await;
    let body = "{ cut".to_owned();
    fake.fail_next_at("POST", "/pulls", Fault::Answer { status: 201, headers: Vec::new(), body });
    client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 2));
}

#[tokio::test]
async fn a_server_that_keeps_breaking_down_is_asked_three_times_in_all() {
    let (fake, _sample) = github().await;
    for _ in 0..9 {
        fake.fail_next_at("POST", "/pulls", Fault::BadGateway);
    }
    let error = client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect_err("broken");
    assert!(matches!(&error, ForgeError::Unavailable { what } if what.contains("502 (an HTML page)")), "{error}");
    assert_eq!(posts(&fake), 3);
}

#[tokio::test]
async fn two_at_once_open_one_pull_request() {
    let (fake, _sample) = github().await;
    let (one, two) = (client(&fake), client(&fake));
    let (web, new) = (web(), from("fix/1"));
    let (one, two) = tokio::join!(one.open_pull_request(&web, &new), two.open_pull_request(&web, &new));
    assert_eq!(one.expect("opened").pull_request, two.expect("opened").pull_request);
    assert_eq!(fake.pulls("acme/web").len(), 1);
}

#[tokio::test]
async fn already_exists_is_success_once_the_pull_request_can_be_seen() {
    let (fake, _sample) = github().await;
    client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    // GitHub's list lags behind: the first look does not see it.
    let body = "[]".to_owned();
    fake.fail_next_at("GET", "/pulls", Fault::Answer { status: 200, headers: Vec::new(), body });
    let found = client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("found").pull_request;
    assert_eq!((found.number, fake.pulls("acme/web").len()), (1, 1));
}

#[tokio::test]
async fn a_merged_pull_request_is_found_as_merged() {
    let (fake, _sample) = github().await;
    let forge = client(&fake);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    fake.merge_pull(1);
    let found = forge.find_pull_request(&web(), "fix/1").await.expect("a look").expect("one");
    assert_eq!(found.state, PullRequestState::Merged);
}

#[tokio::test]
async fn reading_is_tried_three_times() {
    let (fake, _sample) = github().await;
    fake.fail_next(Fault::BadGateway);
    fake.fail_next(Fault::Drop);
    client(&fake).repository(&web()).await.expect("the third try");
    assert_eq!(fake.requests().len(), 3);
    for _ in 0..4 {
        fake.fail_next(Fault::BadGateway);
    }
    let error = client(&fake).repository(&web()).await.expect_err("broken");
    assert!(matches!(error, ForgeError::Unavailable { .. }), "{error}");
    assert_eq!(fake.requests().len(), 6);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    let (fake, _sample) = github().await;
    fake.fail_next_at("POST", "/pulls", Fault::Hang);
    let forge = client_with(&fake, Some(fake.token()), IMPATIENT);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("the second try");
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 2));
}

#[tokio::test]
async fn a_server_that_drips_bytes_for_ever_is_given_up_on() {
    let (fake, _sample) = github().await;
    fake.fail_next_at("POST", "/pulls", Fault::Drip);
    let forge = client_with(&fake, Some(fake.token()), IMPATIENT);
    let (web, new) = (web(), from("fix/1"));
    let opening = forge.open_pull_request(&web, &new);
    tokio::time::timeout(Duration::from_secs(30), opening).await.expect("in time").expect("the second try");
    assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 2));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let forge = GitHub::with_timing(&url, None, TIMING).expect("a client");
    let error = forge.repository(&web()).await.expect_err("nobody there");
    let text = error.to_string();
    assert!(matches!(error, ForgeError::Unavailable { .. }) && text.contains("forge.api_url"), "{text}");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (fake, _sample) = github().await;
    for _ in 0..3 {
        let body = " ".repeat((16 << 20) + 1);
        fake.fail_next(Fault::Answer { status: 200, headers: Vec::new(), body });
    }
    let error = client(&fake).repository(&web()).await.expect_err("too large");
    assert!(error.to_string().contains("more than 16 MiB"), "{error}");
}

#[tokio::test]
async fn a_rate_limit_is_handed_to_the_caller_and_not_waited_for_or_pressed() {
    let (fake, _sample) = github().await;
    for (status, retry_after, wait) in [(403, None, 60), (429, None, 60), (403, Some(7), 7), (429, Some(90), 90)] {
        let forge = client(&fake);
        let before = (posts(&fake), patchwright::clock::now());
        fake.fail_next_at("POST", "/pulls", Fault::SecondaryLimit { status, retry_after });
        match forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("limited") {
            ForgeError::RateLimited { retry_at, what } => {
                let waited = (retry_at - before.1).num_seconds();
                assert!((wait..wait + 20).contains(&waited), "{status} {retry_after:?}: {waited} s");
                assert!(what.contains("secondary rate limit"), "{what}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(posts(&fake), before.0 + 1);
    }
    assert_eq!(fake.pulls("acme/web"), []);
}

#[tokio::test]
async fn a_limit_that_stops_one_request_stops_all_of_the_token_and_none_is_sent() {
    let (fake, _sample) = github().await;
    let forge = client(&fake);
    fake.fail_next_at("GET", "/repos/acme/web", Fault::SecondaryLimit { status: 403, retry_after: Some(3_000) });
    forge.repository(&web()).await.expect_err("limited");
    let sent = fake.requests().len();
    for error in [
        forge.pull_request(&web(), 1).await.expect_err("limited"),
        forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("limited"),
    ] {
        assert!(matches!(error, ForgeError::RateLimited { .. }), "{error}");
    }
    let remarks = forge.decorate(&web(), 1, &["bug".to_owned()], &[]).await;
    assert!(matches!(remarks.as_slice(), [one] if one.contains("the limit ends at")), "{remarks:?}");
    assert_eq!(fake.requests().len(), sent);
}

#[tokio::test]
async fn labels_and_reviewers_are_tried_again_where_github_breaks_down() {
    let (fake, _sample) = github().await;
    fake.add_collaborator("alice");
    let forge = client(&fake);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    fake.fail_next_at("POST", "/labels", Fault::BadGateway);
    fake.fail_next_at("POST", "/labels", Fault::DropAfter);
    fake.fail_next_at("POST", "/requested_reviewers", Fault::Drop);
    let remarks = forge.decorate(&web(), 1, &["bug".to_owned()], &["alice".to_owned()]).await;
    let pull = &fake.pulls("acme/web")[0];
    assert_eq!((remarks, pull.labels.join(" "), pull.reviewers.join(" ")), (vec![], "bug".into(), "alice".into()));
}

#[tokio::test]
async fn the_token_of_an_apps_installation_has_no_user_and_is_good_all_the_same() {
    let (fake, _sample) = github().await;
    fake.fail_next_at("GET", "/user", Fault::message(403, "Resource not accessible by integration"));
    assert_eq!(client(&fake).access().await.expect("access").identity, "an app's installation");
}

#[tokio::test]
async fn a_token_without_the_permission_is_told_which_one_it_needs() {
    let (fake, _sample) = github().await;
    let fault = Fault::message(403, "Resource not accessible by personal access token");
    fake.fail_next_at("POST", "/pulls", fault);
    let error = client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect_err("forbidden");
    assert!(matches!(error, ForgeError::Forbidden { .. }));
    assert_eq!(
        error.to_string(),
        "cannot open a pull request in acme/web: GitHub answered 403 (Resource not accessible by personal access \
         token); give the token *Pull requests: write* and *Contents: write* for this repository"
    );
    assert_eq!(posts(&fake), 1);
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_the_request_id_and_never_repeated_in_text() {
    let (fake, _sample) = github().await;
    let secret = "ghp_thisoneisnotright";
    let forge = client_with(&fake, Some(secret), TIMING);
    let error = forge.access().await.expect_err("refused");
    assert!(matches!(error, ForgeError::Unauthorized { .. }), "{error}");
    assert!(error.to_string().contains("request 0000:1111:2222:3333:44445555"), "{error}");
    // A server, or a proxy before it, that echoes what it was sent.
    fake.fail_next(Fault::message(400, &format!("bad header: Bearer {secret}")));
    let error = forge.repository(&web()).await.expect_err("refused");
    let text = format!("{error} {error:?} {forge:?} {:?}", forge.remote(&web()).await);
    assert!(text.contains("[token]") && !text.contains(secret), "{text}");
}

#[tokio::test]
async fn a_missing_token_says_how_to_set_one() {
    let (fake, _sample) = github().await;
    let forge = client_with(&fake, None, TIMING);
    for error in [
        forge.access().await.expect_err("no token"),
        forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("no token"),
    ] {
        assert!(matches!(&error, ForgeError::Unauthorized { what } if what.contains("set GITHUB_TOKEN")), "{error}");
    }
    assert!(forge.remote(&web()).await.expect("a remote").authorization.is_none());
}

#[tokio::test]
async fn a_token_that_no_header_can_hold_is_refused_at_once() {
    for token in ["", "two words", "line\nbreak", "naïve"] {
        let error = GitHub::new("https://api.github.com", Some(SecretString::from(token))).expect_err("no token");
        assert!(matches!(error, ForgeError::Unauthorized { .. }));
        assert!(token.is_empty() || !error.to_string().contains(token), "{error}");
    }
}

#[test]
fn a_client_outside_of_a_runtime_is_an_error_and_not_a_panic() {
    assert!(matches!(GitHub::new("https://api.github.com", None), Err(ForgeError::Unavailable { .. })));
}

#[tokio::test]
async fn where_drafts_are_not_supported_the_configuration_decides() {
    let (fake, _sample) = github().await;
    let forge = client(&fake);
    fake.fail_next(Fault::NoDrafts);
    let error = forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("refused");
    assert!(matches!(&error, ForgeError::Refused { what } if what.contains("publish.without_drafts")), "{error}");
    assert_eq!(fake.pulls("acme/web"), []);
    fake.fail_next(Fault::NoDrafts);
    let new = NewPullRequest { ready_without_drafts: true, ..from("fix/1") };
    let opened = forge.open_pull_request(&web(), &new).await.expect("opened").pull_request;
    assert!(!opened.draft);
    assert_eq!(fake.pulls("acme/web").len(), 1);
}

#[tokio::test]
async fn a_renamed_repository_is_followed_to_its_new_owner_and_name() {
    let (fake, _sample) = github().await;
    let forge = client(&fake);
    fake.rename("acme/web", "umbrella/shop");
    assert_eq!(forge.repository(&web()).await.expect("followed").id.to_string(), "umbrella/shop");
    let opened = forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened").pull_request;
    assert_eq!(fake.pulls("umbrella/shop").len(), 1);
    assert_eq!(forge.find_pull_request(&web(), "fix/1").await.expect("a look"), Some(opened.clone()));
    assert_eq!(forge.pull_request(&web(), opened.number).await.expect("read"), opened);
    assert_eq!(forge.decorate(&web(), opened.number, &["bug".to_owned()], &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_repository_that_moves_between_the_look_and_the_opening_is_followed_too() {
    for status in [301, 307] {
        let (fake, _sample) = github().await;
        let headers = vec![("location", format!("{}/repositories/1000/pulls", fake.api_url()))];
        fake.fail_next_at("POST", "/pulls", Fault::Answer { status, headers, body: String::new() });
        client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect("opened");
        assert_eq!((fake.pulls("acme/web").len(), posts(&fake)), (1, 2), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_get_the_token() {
    let ((fake, _sample), elsewhere) = (github().await, FakeGitHub::start().await);
    let headers = vec![("location", format!("{}/repos/acme/web", elsewhere.api_url()))];
    fake.fail_next(Fault::Answer { status: 301, headers, body: String::new() });
    client(&fake).repository(&web()).await.expect_err("not answered there");
    let requests = elsewhere.requests();
    // With the token it would have been 404, for both take the same.
    assert!(matches!(requests.as_slice(), [one] if one.status == Some(401)), "{requests:?}");
}

#[tokio::test]
async fn an_archived_repository_is_refused_before_anything_is_sent() {
    let (fake, _sample) = github().await;
    fake.archive("acme/web");
    let error = client(&fake).open_pull_request(&web(), &from("fix/1")).await.expect_err("archived");
    assert!(matches!(&error, ForgeError::Refused { what } if what.contains("unarchive")), "{error}");
    assert_eq!(posts(&fake), 0);
}

#[tokio::test]
async fn a_title_and_a_body_that_are_too_long_are_cut_before_sending() {
    let (fake, _sample) = github().await;
    let redactor = Redactor::default();
    let new = NewPullRequest {
        title: redactor.text(&"Ünïcode ".repeat(100)),
        body: redactor.text(&format!("```\n{}", "ünïcode line\n".repeat(10_000))),
        ..from("fix/1")
    };
    client(&fake).open_pull_request(&web(), &new).await.expect("opened");
    let pulls = fake.pulls("acme/web");
    let pull = pulls.first().expect("one");
    assert!(pull.title.ends_with('…') && pull.body.contains("line\n```\n\n*This text was cut here"), "{}", pull.title);
    assert_eq!((pull.state, pull.draft), (State::Open, true));
    client(&fake).rewrite_pull_request(&web(), 1, &new.title, &new.body).await.expect("rewritten");
}

#[tokio::test]
async fn labels_and_reviewers_that_do_not_work_become_sentences_and_the_rest_is_done() {
    let (fake, _sample) = github().await;
    fake.add_collaborator("alice");
    fake.add_collaborator("platform");
    let forge = client(&fake);
    forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    let labels = ["bug".to_owned(), "x".repeat(51), "auto".to_owned()];
    let reviewers = ["mallory", LOGIN, "@alice", "acme/platform"].map(str::to_owned);
    let complaints = forge.decorate(&web(), 1, &labels, &reviewers).await;
    let [label, mallory, own] = complaints.as_slice() else { panic!("{complaints:#?}") };
    assert!(label.contains("publish.labels"), "{label}");
    assert!(mallory.contains("mallory") && mallory.contains("only be requested from collaborators"), "{mallory}");
    assert!(own.contains(LOGIN) && own.contains("they opened it"), "{own}");
    let pulls = fake.pulls("acme/web");
    let pull = pulls.first().expect("one");
    assert_eq!((&pull.labels[..], &pull.reviewers[..]), (&labels_kept()[..], &reviewers_kept()[..]));
    let label_requests = fake.requests().iter().filter(|received| received.path.ends_with("/labels")).count();
    assert_eq!(label_requests, 1);
}

fn labels_kept() -> [String; 2] {
    ["bug", "auto"].map(str::to_owned)
}

fn reviewers_kept() -> [String; 2] {
    ["alice", "platform"].map(str::to_owned)
}

#[tokio::test]
async fn access_tells_who_we_are_with_what_and_until_when() {
    let (fake, _sample) = github().await;
    let access = client(&fake).access().await.expect("access");
    assert_eq!(access.identity, LOGIN);
    assert_eq!(access.scopes, Some(vec!["repo".to_owned(), "workflow".to_owned()]));
    assert_eq!(access.expires.as_deref(), Some("2031-01-02 03:04:05 UTC"));
    let body = serde_json::json!({ "login": "someone" }).to_string();
    fake.fail_next(Fault::Answer { status: 200, headers: Vec::new(), body });
    assert_eq!(client(&fake).access().await.expect("fine-grained").scopes, None);
}

/// git with our credential the way a push carries it: in the environment, never in an argument.
fn git(dir: &Path, authorization: Option<&SecretString>, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env_clear();
    command.env("PATH", std::env::var_os("PATH").expect("a PATH")).env("HOME", dir);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    if let Some(authorization) = authorization {
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "http.extraHeader");
        command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {}", authorization.expose_secret()));
    }
    command.output().expect("git runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn git_pushes_to_the_remote_with_its_authorization_and_not_without() {
    let (fake, sample) = github().await;
    let forge = client(&fake);
    let remote = forge.remote(&web()).await.expect("a remote");
    assert_eq!(remote.url, format!("{}/acme/web.git", fake.api_url()));
    let local = Sample::new();
    let tip = local.commit("fix/2", "main");
    let push = ["push", &remote.url, "refs/heads/fix/2"];
    let refused = git(&local.bare(), None, &push);
    assert!(!refused.status.success());
    let pushed = git(&local.bare(), remote.authorization.as_ref(), &push);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    assert_eq!(sample.git().refname_to_id("refs/heads/fix/2").expect("pushed").to_string(), tip);
    let listed = git(&local.bare(), remote.authorization.as_ref(), &["ls-remote", &remote.url, "refs/heads/fix/2"]);
    assert!(String::from_utf8_lossy(&listed.stdout).starts_with(&tip));
}
