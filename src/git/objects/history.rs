//! Who changed a line last, and what a commit says.
//!
//! Invariant: the work is bounded before it begins, since libgit2 cannot be stopped in the middle.

use std::path::Path;

use git2::{BlameOptions, Commit, Oid, Repository, Sort};

use super::entry_at;
use crate::clock::{Moment, from_millis};
use crate::git::GitError;
use crate::git::mirror::Mirror;

/// Largest file that is blamed, in bytes.
const MAX_BLAMED: usize = 1 << 20;

/// What a commit says of itself. All of it was written by somebody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitSummary {
    /// Its id.
    pub id: String,
    /// First line of its message.
    pub subject: String,
    /// The name of its author.
    pub author: String,
    /// When it was committed.
    pub at: Moment,
    /// Its parents.
    pub parents: Vec<String>,
}

/// The last change of one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlamedLine {
    /// The line, from 1.
    pub line: u32,
    /// The commit that changed it last, along first parents: where work is merged, the merge that brought it in.
    pub commit: String,
    /// First line of the commit's message.
    pub subject: String,
    /// The name of its author.
    pub author: String,
    /// When it was committed.
    pub at: Moment,
    /// The line is older than the history that was looked at; `commit` is only where the search ended.
    pub older: bool,
}

/// Who changed these lines of a file last, looking back at most `max_commits` along first parents. Empty for a file that
/// is not there, is larger than 1 MiB, or is binary; lines beyond its end are left out.
///
/// # Errors
/// Where the commit is not in the mirror.
pub async fn blame(
    mirror: &Mirror,
    commit: &str,
    path: &str,
    lines: &[u32],
    max_commits: usize,
) -> Result<Vec<BlamedLine>, GitError> {
    let (commit, path, lines) = (commit.to_owned(), path.to_owned(), lines.to_vec());
    mirror.read("find who changed a line", move |repo| blame_lines(repo, &commit, &path, &lines, max_commits)).await
}

fn blame_lines(
    repo: &Repository,
    commit: &str,
    path: &str,
    lines: &[u32],
    max_commits: usize,
) -> Result<Vec<BlamedLine>, git2::Error> {
    let newest = Oid::from_str(commit)?;
    let Some(total) = line_count(repo, commit, path)? else { return Ok(Vec::new()) };
    let wanted: Vec<usize> = lines.iter().filter_map(|line| usize::try_from(*line).ok()).collect();
    let wanted: Vec<usize> = wanted.into_iter().filter(|line| (1..=total).contains(line)).collect();
    let (Some(first), Some(last)) = (wanted.iter().min(), wanted.iter().max()) else { return Ok(Vec::new()) };
    let (oldest, complete) = oldest_within(repo, newest, max_commits)?;
    let mut options = BlameOptions::new();
    options.newest_commit(newest).first_parent(true).min_line(*first).max_line(*last);
    if !complete {
        options.oldest_commit(oldest);
    }
    let blame = repo.blame_file(Path::new(path), Some(&mut options))?;
    let mut found = Vec::new();
    for line in wanted {
        let Some(hunk) = blame.get_line(line) else { continue };
        let CommitSummary { id, subject, author, at, .. } = summary(&repo.find_commit(hunk.final_commit_id())?);
        let older = !complete && hunk.final_commit_id() == oldest;
        found.push(BlamedLine {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            commit: id,
            subject,
            author,
            at,
            older,
        });
    }
    Ok(found)
}

/// How many lines a text file has; `None` for what is not blamed.
fn line_count(repo: &Repository, commit: &str, path: &str) -> Result<Option<usize>, git2::Error> {
    let Some(entry) = entry_at(repo, commit, path)? else { return Ok(None) };
    if entry.filemode() == 0o120_000 || repo.odb()?.read_header(entry.id())?.0 > MAX_BLAMED {
        return Ok(None);
    }
    let Ok(blob) = repo.find_blob(entry.id()) else { return Ok(None) };
    let count = blob.content().split_inclusive(|byte| *byte == b'\n').count();
    Ok((!blob.is_binary()).then_some(count))
}

/// The last commit within `max` steps along first parents, and whether the history ends there.
fn oldest_within(repo: &Repository, newest: Oid, max: usize) -> Result<(Oid, bool), git2::Error> {
    let mut oldest = newest;
    for _ in 0..max {
        match repo.find_commit(oldest)?.parent_ids().next() {
            Some(parent) => oldest = parent,
            None => return Ok((oldest, true)),
        }
    }
    Ok((oldest, false))
}

/// What one commit says of itself.
///
/// # Errors
/// `NotFound` where it is not in the mirror.
pub async fn commit_info(mirror: &Mirror, sha: &str) -> Result<CommitSummary, GitError> {
    let sha = sha.to_owned();
    mirror.read("read a commit", move |repo| Ok(summary(&repo.find_commit(Oid::from_str(&sha)?)?))).await
}

/// The newest `max` commits of the history of `sha`, children before their parents.
///
/// # Errors
/// `NotFound` where it is not in the mirror.
pub async fn log(mirror: &Mirror, sha: &str, max: usize) -> Result<Vec<CommitSummary>, GitError> {
    let sha = sha.to_owned();
    mirror
        .read("read the history", move |repo| {
            let mut walk = repo.revwalk()?;
            // By time alone, since a topological order would read the whole history first.
            walk.set_sorting(Sort::TIME)?;
            walk.push(Oid::from_str(&sha)?)?;
            walk.take(max).map(|id| Ok(summary(&repo.find_commit(id?)?))).collect()
        })
        .await
}

fn summary(commit: &Commit<'_>) -> CommitSummary {
    CommitSummary {
        id: commit.id().to_string(),
        subject: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned(),
        author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
        at: from_millis(commit.time().seconds().saturating_mul(1000)),
        parents: commit.parent_ids().map(|id| id.to_string()).collect(),
    }
}
