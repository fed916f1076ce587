//! Puts one commit on one branch of a remote, and only where the branch is what we think it is.
//!
//! Invariant: a push is a compare-and-swap: it names the commit, the branch and what the branch must be at that moment;
//! the same push twice is a success.

use super::remote::{self, Address};
use super::{Git, GitError, error};
use crate::forge::Remote;
use crate::git::mirror::Mirror;

/// The commit at the head of a branch of the remote, now; `None` where there is no such branch.
///
/// # Errors
/// See [`GitError`].
pub async fn remote_tip(git: &Git, remote: &Remote, branch: &str) -> Result<Option<String>, GitError> {
    remote::head(git, &git.home, remote, &branch_ref(branch)?).await
}

/// Makes `branch` of the remote point to commit `sha` of the mirror, provided that it points to `expected` now (`None`:
/// that it does not exist). Where it points to `sha` already, nothing happens and that is a success.
///
/// # Errors
/// `Stale` where the branch is something else: read [`remote_tip`] again and decide. `Rejected` where the forge says no,
/// with its text. Otherwise see [`GitError`]; after `Unreachable` or `TimedOut` the push may have happened.
pub async fn push(
    git: &Git,
    mirror: &Mirror,
    remote: &Remote,
    sha: &str,
    branch: &str,
    expected: Option<&str>,
) -> Result<(), GitError> {
    let address = Address::of(remote)?;
    let name = branch_ref(branch)?;
    for id in expected.into_iter().chain([sha]) {
        if id.len() != 40 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(GitError::Other { what: format!("cannot push {branch}: `{id}` is not a commit id") });
        }
    }
    let lease = format!("--force-with-lease={name}:{}", expected.unwrap_or_default());
    let refspec = format!("{sha}:{name}");
    let args = ["--git-dir=.", "push", "--porcelain", "--no-verify", &lease, "--", address.as_str(), &refspec];
    let locked = mirror.lock(git).await?;
    let printed = locked.run(git, &args, Some(remote)).await?;
    let doing = format!("push {branch} to {}", mirror.id());
    match status_of(&printed.stdout, &name) {
        Some(('=' | ' ' | '+' | '*', _)) if printed.code == 0 => Ok(()),
        Some(('!', summary)) => Err(refused(&doing, &error::clean(&summary, None), &printed.stderr)),
        _ => Err(error::classify(&doing, &printed.stderr)),
    }
}

/// Whether the remote lets us push at all. Nothing is pushed: a forge says it before it is told what is to come.
///
/// # Errors
/// `Unauthorized` where the credential may not. Otherwise see [`GitError`].
pub async fn may_push(git: &Git, remote: &Remote) -> Result<(), GitError> {
    let address = Address::of(remote)?;
    let doing = format!("push to {}", address.as_str());
    let empty = tempfile::tempdir_in(&git.home).map_err(|error| GitError::while_doing(&doing, error))?;
    git.run(empty.path(), &["init", "--bare", "--quiet", "."], None, &[]).await?.succeeded("make a repository")?;
    // A pattern that nothing fits here; a name that is not there would be refused before anybody is asked.
    let nothing = "refs/heads/none/*:refs/heads/none/*";
    let args = ["--git-dir=.", "push", "--dry-run", "--no-verify", "--", address.as_str(), nothing];
    let printed = git.run(empty.path(), &args, Some(remote), &[]).await?;
    // So a push of nothing ends at a repository without a commit, which lets us push.
    if printed.code == 0 || printed.stderr.contains("No refs in common") {
        return Ok(());
    }
    Err(error::classify(&doing, &printed.stderr))
}

/// What forges say when the branch is not where we expected it at the moment when they move it.
const MOVED: [&str; 5] =
    ["stale info", "cannot lock ref", "failed to update ref", "reference already exists", "but expected"];

fn refused(doing: &str, summary: &str, stderr: &str) -> GitError {
    // What the forge says of the refusal is on standard error, in lines that begin with `remote:`.
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    // In a sentence the lines would run together.
    let said = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let colon = if said.is_empty() { "" } else { ": " };
    let has = |text: &str| summary.contains(text) || said.contains(text);
    // The name of another branch is in the way, and stays there.
    if MOVED.iter().any(|text| has(text)) && !has("cannot create") {
        return GitError::Stale {
            what: format!("cannot {doing}: somebody else moved the branch, {summary}{colon}{said}"),
        };
    }
    let advice = advice(&said);
    GitError::Rejected { what: format!("cannot {doing}: the forge refuses it, {summary}{advice}{colon}{said}") }
}

/// What a person can do about a refusal, where its words tell; a rule of push protection comes as GH013, too.
fn advice(said: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| said.to_ascii_lowercase().contains(word));
    if says(&["push protection", "gh009", "secret scanning"]) {
        "; it takes something in the change for a secret: look there first, and allow it on the forge only if it is none"
    } else if says(&["gh006", "gh013", "protected branch", "rule"]) {
        "; if a rule protects the branch, let the token push it or set another `git.branch_prefix`"
    } else {
        ""
    }
}

/// The status of one branch in the output of `git push --porcelain`: a flag and a summary (git-push(1), OUTPUT).
fn status_of(porcelain: &str, name: &str) -> Option<(char, String)> {
    porcelain.lines().find_map(|line| {
        let mut fields = line.splitn(3, '\t');
        let flag = fields.next()?.chars().next()?;
        let (_, to) = fields.next()?.rsplit_once(':')?;
        (to == name).then(|| (flag, fields.next().unwrap_or_default().to_owned()))
    })
}

/// The full name of a branch, checked.
fn branch_ref(branch: &str) -> Result<String, GitError> {
    let name = format!("refs/heads/{branch}");
    if git2::Reference::is_valid_name(&name) && !branch.starts_with('-') {
        Ok(name)
    } else {
        Err(GitError::Other { what: format!("`{branch}` cannot be the name of a branch; see git-check-ref-format(1)") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_our_branch_is_read_from_the_porcelain_output() {
        let text = "To https://forge.test/x.git\n!\tabc:refs/heads/fix\t[rejected] (stale info)\nDone\n";
        assert_eq!(status_of(text, "refs/heads/fix"), Some(('!', "[rejected] (stale info)".to_owned())));
        assert_eq!(status_of(text, "refs/heads/other"), None);
        let text = "To x\n=\tabc:refs/heads/fix\t[up to date]\nDone";
        assert_eq!(status_of(text, "refs/heads/fix"), Some(('=', "[up to date]".to_owned())));
    }

    #[test]
    fn a_refusal_repeats_what_the_forge_said() {
        let said = "remote: error: GH013: Repository rule violations found for refs/heads/fix.\nerror: failed to push";
        let error = refused("push fix to acme/web", "[remote rejected] (push declined)", said);
        assert!(matches!(&error, GitError::Rejected { what } if what.contains("GH013") && what.contains("declined")));
    }

    #[test]
    fn a_branch_that_moved_under_our_push_is_stale_and_a_name_that_is_taken_is_not() {
        let stale = |said: &str| {
            let error = refused("push", "[remote rejected] (failed to update ref)", &format!("remote: error: {said}"));
            matches!(error, GitError::Stale { .. })
        };
        assert!(stale("cannot lock ref 'refs/heads/p/x': reference already exists"));
        assert!(stale("cannot lock ref 'refs/heads/p/x': is at 1234 but expected 5678"));
        assert!(!stale("cannot lock ref 'refs/heads/p/x': 'refs/heads/p' exists; cannot create 'refs/heads/p/x'"));
        assert!(matches!(refused("push", "[rejected] (stale info)", ""), GitError::Stale { .. }));
    }

    #[test]
    fn the_advice_on_a_refusal_is_about_what_was_refused_and_the_lines_do_not_run_together() {
        let refusal = |said| refused("push fix to acme/web", "[remote rejected] (hook declined)", said).to_string();
        let secret = refusal(
            "remote: error: GH013: Repository rule violations found.\nremote: \nremote: - GITHUB PUSH PROTECTION",
        );
        assert!(secret.contains("takes something in the change for a secret") && !secret.contains("branch_prefix"));
        assert!(
            secret.ends_with(": error: GH013: Repository rule violations found.; - GITHUB PUSH PROTECTION"),
            "{secret}"
        );
        assert!(refusal("remote: error: GH006: Protected branch update failed").contains("`git.branch_prefix`"));
        assert!(refusal("remote: out of disk").ends_with("(hook declined): out of disk"));
    }

    #[test]
    fn a_branch_that_could_be_an_option_or_a_pattern_is_refused() {
        for name in ["-x", "a..b", "a b", "*", "", "a.lock", "a\n"] {
            assert!(branch_ref(name).is_err(), "{name}");
        }
        assert_eq!(branch_ref("patchwright/web-1f").as_deref(), Ok("refs/heads/patchwright/web-1f"));
    }
}
