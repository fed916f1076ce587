//! The commits that Sentry suspects.
//!
//! Invariant: they are hypotheses, each with its reason; blame of the source line comes before mere presence in a release.

use serde_json::Value;

use super::field;
use super::issue::full_commit_id;
use super::text;
use crate::evidence::Suspect;

/// Most suspects.
const SUSPECTS: usize = 20;
/// Longest subject, in bytes.
const SUBJECT: usize = 200;

/// The suspects as `GET /projects/{org}/{project}/events/{event}/committers/` gives them, best first. Diffs are empty:
/// Sentry does not have them.
#[must_use]
pub fn suspects_from_committers(committers: &Value) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = Vec::new();
    for committer in field::list(committers.get("committers")) {
        for commit in field::list(committer.get("commits")) {
            let suspect = suspect(commit, committer.get("author"));
            let known = |one: &Suspect| suspects.iter().any(|other| other.commit == one.commit);
            suspects.extend(suspect.filter(|one| !known(one)));
        }
    }
    suspects.sort_by_key(|suspect| !suspect.why.contains("SCM"));
    suspects.truncate(SUSPECTS);
    suspects
}

fn suspect(commit: &Value, committer: Option<&Value>) -> Option<Suspect> {
    let names = ["name", "username"];
    let author =
        [commit.get("author"), committer].into_iter().flatten().find_map(|author| field::short(author, &names));
    let why = field::short(commit, &["suspectCommitType"]).unwrap_or_else(|| "no reason given".to_owned());
    let repository =
        commit.get("repository").and_then(|repository| field::short(repository, &["externalSlug", "name"]));
    let subject = commit.get("message").and_then(Value::as_str).and_then(|message| message.trim().lines().next());
    Some(Suspect {
        commit: full_commit_id(commit.get("id")?.as_str()?)?,
        subject: text::line(subject.unwrap_or_default(), SUBJECT),
        author: author.unwrap_or_else(|| "unknown".to_owned()),
        at: field::moment(commit, &["dateCreated"]),
        why: match repository {
            Some(repository) => format!("Sentry: {why}, in {repository}"),
            None => format!("Sentry: {why}"),
        },
        diff: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blame_comes_before_presence_in_a_release_and_each_commit_once() {
        let commit = |id: &str, why: &str| {
            json!({ "id": id.repeat(20), "message": "Divide by count\n\nLong story", "suspectCommitType": why,
                "dateCreated": "2026-03-01T09:00:00Z", "repository": { "name": "acme/shop" } })
        };
        let suspects = suspects_from_committers(&json!({ "committers": [
            { "author": { "name": "Ada" }, "commits": [commit("aa", "via commit in release")] },
            { "author": { "name": "Bob" }, "commits": [commit("bb", "via SCM integration"), commit("aa", "via commit in release")] },
        ] }));
        let found: Vec<_> =
            suspects.iter().map(|one| (one.author.as_str(), one.subject.as_str(), one.why.as_str())).collect();
        assert_eq!(
            found,
            [
                ("Bob", "Divide by count", "Sentry: via SCM integration, in acme/shop"),
                ("Ada", "Divide by count", "Sentry: via commit in release, in acme/shop"),
            ]
        );
    }

    #[test]
    fn what_is_no_commit_id_is_no_suspect() {
        let list = json!({ "committers": [{ "commits": [{ "id": "--upload-pack=evil" }, { "id": 7 }, {}, null] }] });
        assert_eq!(suspects_from_committers(&list), []);
    }
}
