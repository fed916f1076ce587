//! The issue, and the few facts about its project and releases that its JSON carries.
//!
//! Invariant: an issue always has a title; a commit is only what has the form of a full commit id.

use serde_json::Value;

use super::field;
use crate::evidence::Issue;

/// The issue as `GET /organizations/{org}/issues/{id}/` gives it, or as a webhook carries it in `data.issue`.
#[must_use]
pub fn issue_from(issue: &Value) -> Issue {
    Issue {
        id: field::short(issue, &["id"]).unwrap_or_default(),
        short_id: field::short(issue, &["shortId", "short_id"]),
        title: super::message::title(issue),
        culprit: field::short(issue, &["culprit"]),
        level: field::short(issue, &["level"]),
        status: field::short(issue, &["status"]),
        substatus: field::short(issue, &["substatus"]),
        category: field::short(issue, &["issueCategory", "issue_category"]),
        events: field::count(issue, &["count"]),
        users: field::count(issue, &["userCount", "user_count"]),
        first_seen: field::moment(issue, &["firstSeen", "first_seen"]),
        last_seen: field::moment(issue, &["lastSeen", "last_seen"]),
        first_release: release(issue.get("firstRelease")),
        last_release: release(issue.get("lastRelease")),
        web_url: field::web_address(issue, &["permalink"])
            .or_else(|| field::web_address(issue, &["web_url", "webUrl"])),
    }
}

/// A release is its version, or an object with the version in it.
pub(super) fn release(release: Option<&Value>) -> Option<String> {
    let release = release?;
    field::scalar(release, 512).or_else(|| field::short(release, &["version"]))
}

/// Slug of the project that the issue belongs to.
pub(in crate::source::sentry) fn project_of(issue: &Value) -> Option<String> {
    field::short(issue.get("project")?, &["slug"])
}

/// Id of the commit that a release, as `GET /organizations/{org}/releases/{version}/` gives it, was made from.
pub(in crate::source::sentry) fn release_commit(release: &Value) -> Option<String> {
    let candidates = ["/lastCommit/id", "/versionInfo/buildHash", "/ref"];
    candidates.iter().filter_map(|path| release.pointer(path)?.as_str()).find_map(full_commit_id)
}

/// The commit id in a version such as `shop@1.2.0+<commit>`, or a version that is one.
#[must_use]
pub fn commit_in_version(version: &str) -> Option<String> {
    version.split(|c: char| !c.is_ascii_alphanumeric()).find_map(full_commit_id)
}

/// The text in lower case, if it is a full git commit id (SHA-1).
pub(in crate::source::sentry) fn full_commit_id(text: &str) -> Option<String> {
    let is_id = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_read_from_numbers_and_from_text() {
        let issue = issue_from(&json!({ "id": 101, "title": "Boom", "count": "25", "userCount": 3 }));
        assert_eq!((issue.id.as_str(), issue.events, issue.users), ("101", Some(25), Some(3)));
    }

    #[test]
    fn an_issue_without_a_title_is_named_by_its_metadata() {
        let issue = issue_from(&json!({ "metadata": { "type": "KeyError", "value": "'price'" } }));
        assert_eq!(issue.title, "KeyError: 'price'");
    }

    #[test]
    fn an_address_that_a_browser_would_run_is_left_out() {
        let issue = issue_from(&json!({ "permalink": null, "web_url": "javascript:alert(1)" }));
        assert_eq!(issue.web_url, None);
        let issue = issue_from(&json!({ "permalink": null, "webUrl": "https://acme.sentry.io/issues/1/" }));
        assert_eq!(issue.web_url.as_deref(), Some("https://acme.sentry.io/issues/1/"));
    }

    #[test]
    fn a_version_may_carry_the_commit() {
        let sha = "0a".repeat(20);
        for version in
            [sha.clone(), format!("shop@{sha}"), format!("shop@1.2.0+{sha}"), format!("web-{}", sha.to_uppercase())]
        {
            assert_eq!(commit_in_version(&version), Some(sha.clone()), "{version}");
        }
        assert_eq!(commit_in_version(&format!("{sha}0")), None);
        assert_eq!(commit_in_version("shop@1.2.0"), None);
    }

    #[test]
    fn only_a_full_commit_id_counts_as_the_commit_of_a_release() {
        assert_eq!(release_commit(&json!({ "lastCommit": { "id": "abc123" }, "ref": "main; rm -rf /" })), None);
        let sha = "A1".repeat(20);
        assert_eq!(
            release_commit(&json!({ "lastCommit": null, "versionInfo": { "buildHash": sha } })),
            Some("a1".repeat(20))
        );
    }

    #[test]
    fn a_release_named_after_its_commit_gives_the_commit() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for version in [sha.to_owned(), format!("shop@{sha}"), format!("shop@1.2.0+{sha}"), sha.to_uppercase()] {
            assert_eq!(commit_in_version(&version).as_deref(), Some(sha), "{version}");
        }
        assert_eq!(commit_in_version("shop@2.4.0"), None);
    }
}
