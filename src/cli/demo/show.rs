//! What the demo shows of the pull request, and where it says everything is.
//!
//! Invariant: what is printed as a command works when it is pasted into a shell, whatever the folder is called.

use std::net::SocketAddr;

use anyhow::Context as _;

use super::folder::Folder;
use super::headline;
use crate::cli::CliError;
use crate::cli::screen::{Screen, Tone, visible, visible_block};
use crate::forge::RepositoryId;
use crate::git::mirror::Mirror;
use crate::git::objects;
use crate::job::JobId;
use crate::pipeline::Seams;
use crate::process;

/// Most bytes of the diff that are shown.
const MOST_DIFF: usize = 64 * 1024;

/// Prints the body and the diff of the job's pull request, read from where they are kept.
pub(super) async fn pull_request(seams: &Seams, job: JobId, screen: &mut Screen) -> Result<(), CliError> {
    let key = seams.store.job(job).await.map_err(anyhow::Error::from)?.key;
    let known = seams.store.pull_requests(&key.source, &key.project, &key.issue).await.map_err(anyhow::Error::from)?;
    let pull_request = known.first().context("the store does not know the pull request")?;
    let id: RepositoryId = pull_request.repository.parse().map_err(anyhow::Error::msg)?;
    let forge = seams.config.forge.path.clone().unwrap_or_default();
    let pulls = forge.join(format!("{id}.pulls"));
    let body =
        std::fs::read_to_string(pulls.join(format!("{}.md", pull_request.number))).context("the body is not there")?;
    headline(screen, "5. The draft pull request: its body")?;
    screen.raw(&visible_block(&body))?;
    headline(screen, "6. Its diff")?;
    let head = seams.forge.pull_request(&id, pull_request.number).await.map_err(anyhow::Error::from)?.head;
    let mirror = Mirror::open(&seams.config.data_dir.mirrors(), &id).map_err(anyhow::Error::from)?;
    let base = objects::commit_info(&mirror, &head).await.map_err(anyhow::Error::from)?.parents;
    let base = base.first().context("the change has no parent")?;
    let diff = objects::diff(&mirror, base, &head, MOST_DIFF).await.map_err(anyhow::Error::from)?;
    for (tone, line) in coloured(&diff) {
        screen.line(tone, &visible(line))?;
    }
    Ok(())
}

/// The lines of a diff, each as it is to be shown. `---` and `+++` of a head name files; they are no change.
fn coloured(diff: &str) -> Vec<(Tone, &str)> {
    let mut in_head = true;
    let mut tone = |line: &str| {
        match line.as_bytes().first() {
            Some(b'd') => in_head = true,
            Some(b'@') => in_head = false,
            _ => {}
        }
        match line.as_bytes().first() {
            _ if in_head => Tone::Dim,
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Dim,
            _ => Tone::Plain,
        }
    };
    diff.lines().map(|line| (tone(line), line)).collect()
}

/// Says where everything is, and how to look at it and to get rid of it.
pub(super) fn where_it_is(folder: &Folder, job: JobId, screen: &mut Screen) -> Result<(), CliError> {
    headline(screen, "Where everything is")?;
    let rows = [
        ("configuration", folder.config()),
        ("forge: repository and pull request", folder.forge()),
        ("database and mirrors", folder.data()),
        ("look again", format!("{} jobs show {job}", with_config(folder))),
        ("remove it", format!("rm -rf {}", quoted(folder.path()))),
    ];
    for (name, what) in rows {
        screen.line(Tone::Plain, &format!("    {name:<36} {}", visible(&what)))?;
    }
    Ok(())
}

/// Says what can be done with a server that goes on.
pub(super) fn serving(folder: &Folder, address: SocketAddr, screen: &mut Screen) -> Result<(), CliError> {
    headline(screen, &format!("Serving on http://{address} until Ctrl-C"))?;
    let signature = format!(
        "openssl dgst -sha256 -hmac \"$(cat {})\" -r {alert} | cut -c1-64",
        quoted(&folder.secret()),
        alert = quoted(&folder.alert())
    );
    let rows = [
        "Its webhook secret:".to_owned(),
        format!("    {}", folder.secret()),
        "Send it an alert; with another `issue_id` in the file it is another issue:".to_owned(),
        format!(
            "    curl -i http://{address}/webhooks/sentry -H 'Content-Type: application/json' \
             -H 'Sentry-Hook-Resource: event_alert' -H \"Sentry-Hook-Signature: $({signature})\" --data-binary @{}",
            quoted(&folder.alert())
        ),
        "See what becomes of it:".to_owned(),
        format!("    {} jobs list", with_config(folder)),
    ];
    for row in rows {
        screen.line(Tone::Plain, &format!("    {}", visible(&row)))?;
    }
    Ok(())
}

/// This program, on the demo's configuration.
pub(super) fn with_config(folder: &Folder) -> String {
    let program =
        std::fs::read_link(process::this_executable()).ok().and_then(|path| path.into_os_string().into_string().ok());
    format!("{} --config {}", quoted(program.as_deref().unwrap_or("patchwright")), quoted(&folder.config()))
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell_whatever_it_is_called() {
        for (path, word) in
            [("/tmp/demo-1", "/tmp/demo-1"), ("/my $x", "'/my $x'"), ("/it's", r"'/it'\''s'"), ("", "''")]
        {
            assert_eq!(quoted(path), word);
        }
    }

    #[test]
    fn the_names_of_files_are_no_changed_lines() {
        let diff = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n same\n--- gone\n+++ new\ndiff --git a/b b/b\n+++ b/b";
        let tones: Vec<Tone> = coloured(diff).into_iter().map(|(tone, _)| tone).collect();
        use Tone::{Bad, Dim, Good, Plain};
        assert_eq!(tones, [Dim, Dim, Dim, Dim, Plain, Bad, Good, Dim, Dim]);
    }
}
