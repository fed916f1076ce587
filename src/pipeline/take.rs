//! Takes what the agent changed, as commits in our mirrors.
//!
//! Invariant: nothing gets further that could not be published: what a tree cannot hold, what would run before it is
//! reviewed, and secrets of ours.

use std::path::PathBuf;

use super::prepare::{Evidence, Site, short};
use super::saved::Changed;
use super::{Desk, Halt, brief};
use crate::agent::handback::Handback;
use crate::clock;
use crate::git::objects::{self, Change, CommitInfo, Draft, Rules, Snapshot, SnapshotError};
use crate::job::Stage;
use crate::outcome::Abstained;

/// Most bytes of all changed files together.
const MOST_BYTES: u64 = 64 << 20;

/// A checkout that the agent may change.
pub(super) struct Tree<'a> {
    pub(super) site: &'a Site,
    pub(super) base: String,
    pub(super) dir: PathBuf,
    /// Where objects are made that the mirror does not have to keep.
    pub(super) draft: Draft,
    /// The tree after our own setup, before the agent; its difference to the base is not the agent's.
    pub(super) before: Snapshot,
}

/// What was taken.
#[derive(Default)]
pub(super) struct Taken {
    /// The changes, one for each repository that has one.
    pub(super) changed: Vec<Changed>,
    /// For each repository, what was left where it is.
    pub(super) not_taken: Vec<String>,
}

/// Reads every tree as objects and commits what the agent changed in it.
pub(super) async fn take_changes(
    desk: &Desk,
    agent: &str,
    evidence: &Evidence,
    handback: Option<&Handback>,
    trees: &[Tree<'_>],
) -> Result<Result<Taken, Abstained>, Halt> {
    let settings = &desk.seams.config.git;
    let mut all = Taken::default();
    for tree in trees {
        let mirror = &tree.site.mirror;
        let leave_out = tree.before.left_out.clone();
        let rules = Rules { leave_out, ..Rules::strict(settings.max_file.0, settings.max_files, MOST_BYTES) };
        let taken = async {
            let after = objects::snapshot(&tree.draft, &tree.before.tree, &tree.dir, &rules).await?;
            let applied = objects::between(&tree.draft, &tree.before.tree, &after.tree, &tree.base).await?;
            let left = [after.passed_over_since(&tree.before), applied.left_out].concat();
            Ok((applied.tree, left))
        };
        let (taken, left) = match taken.await {
            Ok(taken) => taken,
            Err(SnapshotError::Refused(refusal)) => {
                return Ok(Err(Abstained::Unpublishable { what: format!("{}: {refusal}", tree.site.id) }));
            }
            Err(SnapshotError::Failed(error)) => return Err(error.into()),
        };
        if let Some(what) = not_taken(&left) {
            let text = desk.seams.redactor.text(&format!("{}: {what}", tree.site.id)).into_inner();
            desk.insist(|| desk.journal.note(Stage::Agent, &text)).await?;
            all.not_taken.push(text);
        }
        let changes = objects::changes(mirror, &tree.base, &taken).await?;
        if changes.is_empty() {
            continue;
        }
        let refused = match runs_before_review(&changes).or_else(|| names_submodules(&changes)) {
            Some(what) => Some(what),
            None => match objects::filtered(&tree.draft, &tree.base, &changes).await? {
                Some((path, filter)) => Some(format!(
                    "`{path}` goes through the filter `{filter}` when it is committed (.gitattributes), and Patchwright \
                     runs no filter"
                )),
                None => holds_a_secret(desk, tree, &taken, &changes).await?,
            },
        };
        if let Some(what) = refused {
            return Ok(Err(Abstained::Unpublishable { what: format!("{}: {what}", tree.site.id) }));
        }
        let text = brief::commit_message(&desk.seams, desk.job.id, agent, evidence, handback)?;
        let info = CommitInfo {
            author_name: settings.author_name.clone(),
            author_email: settings.author_email.clone(),
            message: text.into_inner(),
            at: clock::now(),
        };
        let commit = objects::commit(mirror, &taken, &tree.base, &info).await?;
        // With the commit in its name: numbers of jobs start again where a database is lost and the mirrors are not.
        let pin = format!("refs/patchwright/job-{}/run-{}-{}", desk.job.id, desk.lease.fence, short(&commit));
        objects::pin(mirror, &commit, &pin).await?;
        let text = format!("{}: {} changed, kept as commit {}", tree.site.id, files(changes.len()), short(&commit));
        desk.insist(|| desk.journal.note(Stage::Agent, &text)).await?;
        all.changed.push(Changed { repository: tree.site.id.to_string(), base: tree.base.clone(), commit, changes });
    }
    Ok(Ok(all))
}

/// Most paths that are named of those that were not taken.
const MOST_NAMED: usize = 10;

/// What of the agent's work is no part of the change, for people who miss it.
fn not_taken(paths: &[String]) -> Option<String> {
    let named: Vec<_> = paths.iter().take(MOST_NAMED).map(|path| format!("`{path}`")).collect();
    let more = match paths.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = || format!("not taken, since it is ignored, made by tools or by the setup: {}{more}", named.join(", "));
    (!paths.is_empty()).then(text)
}

fn files(count: usize) -> String {
    format!("{count} {}", if count == 1 { "file" } else { "files" })
}

/// Beginnings, in lower case, of the paths where forges and build servers look for what they run as soon as a branch is pushed, with the repository's secrets.
const CI_CONFIGURATION: [&str; 17] = [
    ".github/workflows/",
    ".github/actions/",
    ".gitlab-ci.yml",
    ".gitea/workflows/",
    ".forgejo/workflows/",
    ".circleci/",
    ".buildkite/",
    ".semaphore/",
    ".woodpecker",
    ".drone.",
    ".cirrus.",
    ".travis.yml",
    ".appveyor.yml",
    "appveyor.yml",
    "azure-pipelines",
    "bitbucket-pipelines.yml",
    "jenkinsfile",
];

/// A draft waits for a person, but what a push starts does not.
fn runs_before_review(changes: &[Change]) -> Option<String> {
    let is_ci = |path: &str| CI_CONFIGURATION.iter().any(|start| path.to_ascii_lowercase().starts_with(start));
    let path = changes.iter().map(|change| change.path.as_str()).find(|path| is_ci(path))?;
    Some(format!(
        "`{path}` is configuration of CI, which would run with the repository's secrets before anybody reviewed it"
    ))
}

/// Where a submodule comes from is fetched with our credential, by the tests on the change already.
fn names_submodules(changes: &[Change]) -> Option<String> {
    let path = changes.iter().map(|change| change.path.as_str()).find(|path| objects::is_dot_gitmodules(path))?;
    Some(format!("`{path}` says where submodules come from, which only a person may change"))
}

/// Whether one of our own secrets, or one that the agent was given, is in what would be pushed.
async fn holds_a_secret(desk: &Desk, tree: &Tree<'_>, to: &str, changes: &[Change]) -> Result<Option<String>, Halt> {
    let (mirror, redactor) = (&tree.site.mirror, &desk.seams.redactor);
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    for change in changes {
        let content = objects::read_file(mirror, to, &change.path, most).await?.unwrap_or_default();
        if redactor.knows_one_in(&content) || redactor.knows_one_in(change.path.as_bytes()) {
            return Ok(Some(format!("`{}` holds a secret of this service or its agent", change.path)));
        }
    }
    // Targets of links are in no file, but in the diff.
    let diff = objects::diff(mirror, &tree.base, to, most).await?;
    Ok(redactor.knows_one_in(diff.as_bytes()).then(|| "it holds a secret of this service or its agent".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::objects::ChangeKind;

    fn change(path: &str) -> Change {
        Change { path: path.into(), kind: ChangeKind::Modified, binary: false, added: 1, removed: 0 }
    }

    #[test]
    fn a_change_of_what_a_push_starts_is_named() {
        for path in [
            ".github/workflows/ci.yml",
            ".GitHub/Workflows/x.yml",
            ".gitlab-ci.yml",
            ".circleci/config.yml",
            ".buildkite/pipeline.yml",
            ".semaphore/semaphore.yml",
            ".woodpecker.yml",
            ".woodpecker/test.yaml",
            ".drone.yml",
            ".drone.star",
            ".cirrus.yml",
            ".travis.yml",
            ".appveyor.yml",
            "appveyor.yml",
            "azure-pipelines.yml",
            "azure-pipelines/release.yml",
            "bitbucket-pipelines.yml",
            "Jenkinsfile",
        ] {
            let what = runs_before_review(&[change("src/app.rs"), change(path)]).unwrap();
            assert!(what.contains(path), "{what}");
        }
    }

    #[test]
    fn one_file_is_one_file() {
        assert_eq!([files(1), files(2)], ["1 file", "2 files"]);
    }

    #[test]
    fn a_change_of_where_submodules_come_from_is_named() {
        for path in [".gitmodules", ".GITMODULES", "gitmod~1"] {
            let what = names_submodules(&[change("src/app.rs"), change(path)]).unwrap();
            assert!(what.contains(path), "{what}");
        }
        assert_eq!(names_submodules(&[change("docs/.gitmodules"), change("gitmodules")]), None);
    }

    #[test]
    fn of_what_was_not_taken_the_first_are_named_and_the_rest_is_counted() {
        let paths: Vec<_> = (0..12).map(|n| format!("p{n}")).collect();
        assert!(not_taken(&paths).unwrap().ends_with("`p9` and 2 more"));
        assert!(not_taken(&paths[..1]).unwrap().ends_with(": `p0`"));
        assert_eq!(not_taken(&[]), None);
    }

    #[test]
    fn other_files_of_the_forge_may_change() {
        assert_eq!(runs_before_review(&[change(".github/ISSUE_TEMPLATE/bug.md"), change("docs/.gitlab-ci.yml")]), None);
    }
}
