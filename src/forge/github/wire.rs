//! The parts of GitHub's answers that we read.
//!
//! Invariant: a field that we do not use cannot break us, and a commit id is hexadecimal before it leaves this file.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::forge::{PullRequest, PullRequestState, RepositoryId};

/// `GET /user`.
#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

/// `GET /repos/{owner}/{repo}`.
#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) full_name: RepositoryId,
    pub(super) default_branch: String,
    #[serde(default)]
    pub(super) archived: bool,
    /// Absent where the request had no credential.
    pub(super) permissions: Option<Permissions>,
}

/// What the credential may do in a repository.
#[derive(Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    pub(super) push: bool,
}

/// One pull request, as `GET /pulls`, `GET /pulls/{n}` and `POST /pulls` show it.
#[derive(Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    html_url: String,
    state: State,
    /// Absent from servers older than drafts.
    #[serde(default)]
    draft: bool,
    merged_at: Option<IgnoredAny>,
    head: Head,
    /// `null` where the account was deleted.
    pub(super) user: Option<User>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Open,
    Closed,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    #[serde(deserialize_with = "commit_id")]
    sha: String,
    /// `null` where the repository, a fork, was deleted.
    repo: Option<HeadRepository>,
}

#[derive(Deserialize)]
struct HeadRepository {
    full_name: String,
}

impl Pull {
    /// Whether its head is this branch of this repository: a fork may have a branch of the same name, and a filter
    /// that the server did not understand returns everything.
    pub(super) fn is_from(&self, id: &RepositoryId, branch: &str) -> bool {
        let repository = self.head.repo.as_ref().map(|repo| repo.full_name.as_str());
        self.head.branch == branch && repository.is_some_and(|name| name.eq_ignore_ascii_case(&id.to_string()))
    }

    pub(super) fn into_pull_request(self) -> PullRequest {
        let state = match (self.state, self.merged_at) {
            (State::Open, _) => PullRequestState::Open,
            (State::Closed, None) => PullRequestState::Closed,
            (State::Closed, Some(_)) => PullRequestState::Merged,
        };
        PullRequest { number: self.number, url: self.html_url, state, draft: self.draft, head: self.head.sha }
    }
}

/// A SHA-1 or SHA-256 object id, which later stages hand to git.
fn commit_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(id)
    } else {
        Err(serde::de::Error::custom("a head that is not a commit id"))
    }
}

/// The body of an answer that is not a success.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) errors: Vec<Detail>,
}

/// One of its details, which GitHub writes as an object or as plain text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Detail {
    Text(String),
    Object {
        #[serde(default)]
        field: Option<String>,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
    },
    Other(IgnoredAny),
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pull(change: impl FnOnce(&mut Value)) -> Result<Pull, serde_json::Error> {
        let mut value = json!({
            "number": 7, "html_url": "https://github.example/acme/web/pull/7", "state": "open", "draft": true,
            "merged_at": null, "user": { "login": "robot" }, "brand_new_field": [1, 2],
            "head": { "ref": "fix/1", "sha": "a".repeat(40), "repo": { "full_name": "Acme/web" } },
        });
        change(&mut value);
        serde_json::from_value(value)
    }

    #[test]
    fn closed_and_merged_are_told_apart() {
        let state = |merged: Value| {
            let read = pull(|p| {
                p["state"] = json!("closed");
                p["merged_at"] = merged;
            });
            read.expect("sound").into_pull_request().state
        };
        assert_eq!(state(Value::Null), PullRequestState::Closed);
        assert_eq!(state(json!("2026-01-02T03:04:05Z")), PullRequestState::Merged);
    }

    #[test]
    fn a_branch_of_the_same_name_in_a_fork_or_a_deleted_fork_is_not_ours() {
        let id: RepositoryId = "acme/web".parse().expect("a sound name");
        assert!(pull(|_| {}).expect("sound").is_from(&id, "fix/1"));
        assert!(!pull(|_| {}).expect("sound").is_from(&id, "fix/2"));
        assert!(!pull(|p| p["head"]["repo"]["full_name"] = json!("eve/web")).expect("sound").is_from(&id, "fix/1"));
        assert!(!pull(|p| p["head"]["repo"] = Value::Null).expect("sound").is_from(&id, "fix/1"));
    }

    #[test]
    fn a_head_that_is_not_a_commit_id_is_refused() {
        for sha in ["", "HEAD", "--upload-pack=touch /tmp/x", &"g".repeat(40), &"a".repeat(41)] {
            assert!(pull(|p| p["head"]["sha"] = json!(sha)).is_err(), "{sha}");
        }
    }
}
