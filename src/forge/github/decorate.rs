//! Adds labels and asks for reviews, as far as GitHub lets us.
//!
//! Invariant: nothing here can fail a pull request that exists; each part that did not work becomes one sentence.

use serde_json::json;

use crate::forge::RepositoryId;
use crate::forge::github::client::Client;
use crate::forge::github::pulls;

/// Most characters of a label's name.
const LABEL: usize = 50;

/// Adds the labels in one request and asks the reviewers one by one, since one bad name fails the whole request.
pub(super) async fn decorate(
    client: &Client,
    id: &RepositoryId,
    number: u64,
    labels: &[String],
    reviewers: &[String],
) -> Vec<String> {
    if labels.is_empty() && reviewers.is_empty() {
        return Vec::new();
    }
    // A POST to the old name of a renamed repository is not carried out.
    let id = match pulls::repository(client, id).await {
        Ok(repository) => repository.id,
        Err(error) => return vec![error.to_string()],
    };
    let mut failures = Vec::new();
    add_labels(client, &id, number, labels, &mut failures).await;
    if !reviewers.is_empty() {
        ask_for_reviews(client, &id, number, reviewers, &mut failures).await;
    }
    failures
}

/// GitHub creates labels that it does not know.
async fn add_labels(client: &Client, id: &RepositoryId, number: u64, labels: &[String], failures: &mut Vec<String>) {
    let fits = |label: &&String| !label.trim().is_empty() && label.chars().count() <= LABEL;
    let (labels, bad): (Vec<_>, Vec<_>) = labels.iter().partition(fits);
    failures.extend(bad.into_iter().map(|label| {
        format!("cannot add the label `{label}`: GitHub takes 1 to {LABEL} characters; shorten it in `publish.labels`")
    }));
    if labels.is_empty() {
        return;
    }
    let action = client.action(format!("label pull request {number} of {id}"));
    let route = format!("/repos/{}/{}/issues/{number}/labels", id.owner(), id.name());
    let answer = client.add(&action, &route, &json!({ "labels": labels })).await;
    failures.extend(answer.err().map(|error| error.to_string()));
}

async fn ask_for_reviews(
    client: &Client,
    id: &RepositoryId,
    number: u64,
    reviewers: &[String],
    failures: &mut Vec<String>,
) {
    let author = match pulls::by_number(client, id, number).await {
        Ok(pull) => pull.user.map(|user| user.login),
        Err(error) => {
            failures.push(error.to_string());
            return;
        }
    };
    let route = format!("/repos/{}/{}/pulls/{number}/requested_reviewers", id.owner(), id.name());
    for reviewer in reviewers {
        let name = reviewer.trim().trim_start_matches('@');
        if author.as_deref().is_some_and(|author| author.eq_ignore_ascii_case(name)) {
            failures.push(format!("cannot ask {name} for a review of pull request {number} of {id}: they opened it"));
            continue;
        }
        let action = client.action(format!("ask {name} for a review of pull request {number} of {id}"));
        // `organization/team` is a team.
        let body = match name.split_once('/') {
            Some((_, team)) => json!({ "team_reviewers": [team] }),
            None => json!({ "reviewers": [name] }),
        };
        let answer = client.add(&action, &route, &body).await;
        failures.extend(answer.err().map(|error| error.to_string()));
    }
}
