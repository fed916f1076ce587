//! The stages before the agent: triage, mirrors, evidence.
//!
//! Invariant: nothing here changes anything outside, so that `patchwright prompt` can run it without a job.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::{Desk, Halt, Seams, unless_cancelled};
use crate::agent::profile;
use crate::alert::{Alert, Reason};
use crate::config::repository_file::{self, RepositoryFile};
use crate::config::{Base, ProjectConfig};
use crate::context::code::{self, Code};
use crate::context::{self, FromTracker, suspects};
use crate::evidence::{Context, Event, Found, Gap, Issue, Trace};
use crate::forge::{Remote, RepositoryId, RepositoryInfo};
use crate::git::mirror::Mirror;
use crate::git::objects;
use crate::job::Stage;
use crate::outcome::{Ignored, Outcome};
use crate::publish;
use crate::redact::Redacted;
use crate::source::sentry::category;
use crate::store::Delivery;
use crate::triage::{self, before_work};

/// Deliveries of a job that are searched for evidence, newest first; in an alert storm all say the same.
const MOST_DELIVERIES: u32 = 50;

/// The repositories of a run, and the settings of its project.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The project's settings, completed by the repository's own file.
    pub project: ProjectConfig,
    /// The project's own repository.
    pub home: Site,
    /// The related ones that could be fetched.
    pub related: Vec<Site>,
}

impl Ground {
    /// The repository `owner/name`; `None` for a related one that could not be fetched.
    pub(super) fn site(&self, repository: &str) -> Option<&Site> {
        std::iter::once(&self.home).chain(&self.related).find(|site| site.id.to_string() == repository)
    }
}

/// A repository, fetched.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub id: RepositoryId,
    /// Its default branch.
    pub default_branch: String,
    /// The commit at its head.
    pub head: String,
    /// How to reach it.
    pub remote: Remote,
    /// Our mirror of it.
    pub mirror: Mirror,
    /// Why no pull request can be opened in it, as far as the forge says.
    pub closed: Option<String>,
}

/// The evidence, and the commit that is worked on.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The evidence.
    pub context: Redacted<Context>,
    /// The commit.
    pub base: BaseCommit,
}

/// The commit that is worked on.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BaseCommit {
    /// Its id.
    pub commit: String,
    /// How it was chosen, for people.
    pub why: String,
}

/// Is the job worth a run, and is nobody on it already?
///
/// # Errors
/// Where that could not be found out.
pub async fn triage(desk: &Desk) -> Result<Result<ProjectConfig, Outcome>, Halt> {
    desk.journal.enter(Stage::Triage).await?;
    let project = match triage::admit(&desk.seams.config, &desk.job.alert) {
        Ok(project) => project.clone(),
        Err(why) => return Ok(Err(Outcome::Ignored { why })),
    };
    // Whatever is missing here is missing for every job: it is said before anything is fetched.
    profile::for_project(&desk.seams.config, &project).map_err(Halt::broken)?;
    let looked = before_work::before_work(&desk.job, &*desk.seams.store, &*desk.seams.forge);
    if let Some(outcome) = unless_cancelled(&desk.cancel, looked).await? {
        return Ok(Err(outcome));
    }
    let alert = &desk.job.alert;
    let text = format!("{} {}: {}", alert.issue_name(), alert.reason.in_words(), alert.title);
    desk.journal.note(Stage::Triage, &text).await?;
    Ok(Ok(project))
}

/// Fetches the repositories, and asks whether people have decided already on what would be published.
///
/// # Errors
/// Where the project's own repository cannot be had.
pub async fn ground(desk: &Desk, project: &ProjectConfig) -> Result<Result<Ground, Outcome>, Halt> {
    desk.journal.enter(Stage::Mirror).await?;
    let ground = fetch_all(&desk.seams, project, &desk.journal, &desk.cancel).await?;
    if let Some(why) = &ground.home.closed {
        return Err(Halt::broken(why.as_str()));
    }
    // Asked before an agent is paid, of the forge, since our own records may be lost; and again before the push.
    if desk.saved::<serde::de::IgnoredAny>("fix").await?.is_none() {
        let (branch, git) = (desk.branch(), desk.git()?);
        let place = desk.place(&ground.home, &branch);
        let asked = publish::answered(&place, &*desk.seams.forge, &git);
        if let Some(why) = unless_cancelled(&desk.cancel, asked).await? {
            return Ok(Err(Outcome::Abstained { why }));
        }
    }
    Ok(Ok(ground))
}

/// Fetches the repositories of a project and completes its settings from the repository's own file.
///
/// # Errors
/// Where the project's own repository cannot be had.
pub async fn fetch_all(
    seams: &Arc<Seams>,
    project: &ProjectConfig,
    journal: &Journal,
    cancel: &CancellationToken,
) -> Result<Ground, Halt> {
    let home = fetch(seams, &project.repository, cancel).await?;
    let text = format!("{}: `{}` is at {}", home.id, home.default_branch, short(&home.head));
    journal.note(Stage::Mirror, &text).await?;
    let mut related = Vec::new();
    for name in &project.related {
        match fetch(seams, name, cancel).await {
            // Renamed on the forge, two names may have become one repository.
            Ok(site) if is_among(&site.id, &home, &related) => {
                let text = format!("related repository {name} is {}, which is there already", site.id);
                journal.note(Stage::Mirror, &text).await?;
            }
            Ok(site) => related.push(site),
            Err(Halt::Later { why, .. } | Halt::Broken { message: why }) => {
                journal.problem(Stage::Mirror, &format!("related repository {name} is left out: {why}")).await?;
            }
            Err(halt) => return Err(halt),
        }
    }
    let project = match own_file(&home).await? {
        None => project.clone(),
        Some(Ok(file)) => {
            journal.note(Stage::Mirror, &format!("{} has a `{}`", home.id, repository_file::FILE_NAME)).await?;
            file.fill(project)
        }
        Some(Err(error)) => {
            let text = format!("the `{}` of {} is not used: {error}", repository_file::FILE_NAME, home.id);
            journal.problem(Stage::Mirror, &text).await?;
            project.clone()
        }
    };
    Ok(Ground { project, home, related })
}

fn is_among(id: &RepositoryId, home: &Site, related: &[Site]) -> bool {
    std::iter::once(home).chain(related).any(|site| site.id == *id)
}

/// Why no pull request could be opened in a repository, as far as the forge says; asked before an agent is paid.
fn closed_to_us(info: &RepositoryInfo) -> Option<String> {
    let id = &info.id;
    if info.archived {
        return Some(format!(
            "{id} is archived, so no pull request can be opened there; unarchive it, or change `repository`"
        ));
    }
    (info.can_push == Some(false))
        .then(|| format!("our credential may not push to {id}; give it *Contents: write* and *Pull requests: write*"))
}

/// Why none of our branches can be made in a repository: git keeps no branch `a/b` beside a branch `a`.
async fn taken_name(id: &RepositoryId, mirror: &Mirror, prefix: &str) -> Result<Option<String>, Halt> {
    let ends = prefix.match_indices('/').map(|(at, _)| at).chain([prefix.len()]);
    for name in ends.filter_map(|end| prefix.get(..end)) {
        if mirror.head(name).await?.is_some() {
            return Ok(Some(format!(
                "{id} has a branch `{name}`, and git keeps no branch `{prefix}/…` beside it; rename that branch, or set \
                 another `git.branch_prefix`"
            )));
        }
    }
    Ok(None)
}

async fn fetch(seams: &Seams, name: &str, cancel: &CancellationToken) -> Result<Site, Halt> {
    let asked: RepositoryId = name.parse().map_err(Halt::broken)?;
    let info = unless_cancelled(cancel, seams.forge.repository(&asked)).await?;
    let remote = unless_cancelled(cancel, seams.forge.remote(&info.id)).await?;
    let mirror = Mirror::open(&seams.config.data_dir.mirrors(), &info.id)?;
    let git = seams.git(cancel.clone())?;
    mirror.fetch(&git, &remote).await?;
    let head = mirror.head(&info.default_branch).await?.ok_or_else(|| {
        Halt::broken(format!(
            "{} has no commit on its default branch `{}`; push one first",
            info.id, info.default_branch
        ))
    })?;
    let closed = match closed_to_us(&info) {
        Some(why) => Some(why),
        None => taken_name(&info.id, &mirror, &seams.config.git.branch_prefix).await?,
    };
    Ok(Site { id: info.id, default_branch: info.default_branch, head, remote, mirror, closed })
}

/// The repository's own settings, from its default branch only: a branch is what an agent may have written.
async fn own_file(home: &Site) -> Result<Option<Result<RepositoryFile, String>>, Halt> {
    let bytes =
        objects::read_file(&home.mirror, &home.head, repository_file::FILE_NAME, repository_file::LARGEST + 1).await?;
    Ok(bytes.map(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        repository_file::parse(&text).map_err(|error| error.to_string())
    }))
}

/// Gathers the evidence and chooses the commit to work on.
///
/// # Errors
/// Where the tracker asks us to wait or the repository cannot be read.
pub async fn evidence(desk: &Desk, ground: &Ground) -> Result<Result<Evidence, Outcome>, Halt> {
    desk.journal.enter(Stage::Context).await?;
    if let Some((context, base)) = desk.saved::<(Context, BaseCommit)>("evidence").await?
        // Not if the mirror was made anew and the branch has lost the commit since.
        && ground.home.mirror.resolve(&base.commit).await?.is_some()
    {
        desk.journal.note(Stage::Context, "taken from the earlier run").await?;
        let context = desk.seams.redactor.data(&context).map_err(unreadable)?;
        return Ok(Ok(Evidence { context, base }));
    }
    let deliveries = desk.seams.store.deliveries(desk.job.id, MOST_DELIVERIES).await?;
    let gathering = gather(&desk.seams, &desk.job.alert, &deliveries, ground);
    let gathered = unless_cancelled(&desk.cancel, gathering).await?;
    // The delivery alone may not have said enough for this.
    if let Err(why) = still_fits(&ground.project, gathered.context.get()) {
        return Ok(Err(Outcome::Ignored { why }));
    }
    for line in summary(gathered.context.get()) {
        desk.journal.note(Stage::Context, &line).await?;
    }
    desk.journal
        .note(Stage::Context, &format!("works on {}: {}", short(&gathered.base.commit), gathered.base.why))
        .await?;
    desk.save("evidence", &(gathered.context.get(), &gathered.base)).await?;
    Ok(Ok(gathered))
}

/// Whether the issue is worth an agent, now that the tracker has been asked.
fn still_fits(project: &ProjectConfig, context: &Context) -> Result<(), Ignored> {
    triage::fits(project, &context.alert)?;
    let category = context.issue.value().and_then(|issue| issue.category.as_deref());
    match category.and_then(category::not_code) {
        Some(why) if context.alert.reason != Reason::Requested => Err(Ignored::NotActionable { what: why.to_owned() }),
        _ => Ok(()),
    }
}

/// Gathers the evidence for an alert.
///
/// # Errors
/// Where the tracker asks us to wait or the repository cannot be read.
pub async fn gather(seams: &Seams, alert: &Alert, deliveries: &[Delivery], ground: &Ground) -> Result<Evidence, Halt> {
    let FromTracker { mut alert, issue, event, trace, suspects, release_commit, mut gaps } =
        Box::pin(context::from_tracker(&seams.sentry, alert, deliveries, &ground.project.environments)).await?;
    let base = choose_base(ground, release_commit.as_deref()).await?;
    let (mirror, commit) = (&ground.home.mirror, base.commit.as_str());
    let code = match event.value() {
        Some(event) => code::locate(mirror, commit, ground.project.path.as_deref(), event).await?,
        None => Code::default(),
    };
    let (suspects, more) = suspects::join(mirror, commit, &code.excerpts, suspects, suspects::HISTORY).await;
    gaps.extend(more);
    if code.omitted > 0 {
        gaps.push(Gap::new("code at the frames", format!("{} more frames were not looked up", code.omitted)));
    }
    let code = code::evidence(code.excerpts, commit, event.value());
    // What an event says of people is masked; authors of commits stay, since reviewers need them.
    let (issue, event, trace) = without_people(seams, &(issue, event, trace))?;
    alert.title = seams.redactor.personal(&alert.title).into_inner();
    let context = Context { alert, issue, event, trace, suspects, code, gaps };
    let context = seams.redactor.data(&context).map_err(unreadable)?;
    Ok(Evidence { context, base })
}

type AboutPeople = (Found<Issue>, Found<Event>, Found<Trace>);

fn without_people(seams: &Seams, evidence: &AboutPeople) -> Result<AboutPeople, Halt> {
    seams.redactor.personal_data(evidence).map(Redacted::into_inner).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Halt {
    Halt::broken(format!("the evidence cannot be read back after redaction: {error}"))
}

async fn choose_base(ground: &Ground, release_commit: Option<&str>) -> Result<BaseCommit, Halt> {
    let home = &ground.home;
    let head = |why: String| BaseCommit { commit: home.head.clone(), why };
    let branch = format!("the head of `{}`", home.default_branch);
    if ground.project.base == Base::DefaultBranch {
        return Ok(head(branch));
    }
    let Some(named) = release_commit else {
        return Ok(head(format!("{branch}, since the commit of the failing release is not known")));
    };
    let Some(commit) = home.mirror.resolve(named).await? else {
        return Ok(head(format!(
            "{branch}, since the failing release's commit {} is not in the repository",
            short(named)
        )));
    };
    if home.mirror.is_ancestor(&commit, &home.head).await? {
        return Ok(BaseCommit { commit, why: "the commit of the failing release".to_owned() });
    }
    Ok(head(format!("{branch}, since the failing release's commit {} is not part of it", short(&commit))))
}

/// One line for each kind of evidence: what there is, or why it is missing.
fn summary(context: &Context) -> Vec<String> {
    fn line<T>(name: &str, found: &Found<T>, words: impl FnOnce(&T) -> String) -> String {
        match found {
            Found::Here { value, from } => format!("{name}: {} (from {})", words(value), from.source),
            Found::Missing { why } => format!("{name}: missing, {why}"),
        }
    }
    let mut lines = vec![
        line("issue", &context.issue, |issue| match issue.events {
            Some(events) => format!("{} ({events} events)", issue.title),
            None => issue.title.clone(),
        }),
        line("event", &context.event, |event| {
            let frames: usize = event.exceptions.iter().map(|exception| exception.frames.len()).sum();
            format!("{} with {frames} frames and {} breadcrumbs", event.title, event.breadcrumbs.len())
        }),
        line("trace", &context.trace, |trace| format!("{} root spans", trace.roots.len())),
        line("suspect commits", &context.suspects, |suspects| {
            let names = suspects.iter().map(|suspect| format!("{} “{}”", short(&suspect.commit), suspect.subject));
            names.collect::<Vec<_>>().join(", ")
        }),
        line("code", &context.code, |code| {
            code.iter().map(|excerpt| format!("{}:{}", excerpt.path, excerpt.line)).collect::<Vec<_>>().join(", ")
        }),
    ];
    lines.extend(context.gaps.iter().map(|gap| format!("{}: {}", gap.part, gap.why)));
    lines
}

/// A commit id, cut to what people read.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_takes_no_change_is_noticed_before_the_agent_works() {
        let id: RepositoryId = "acme/web".parse().unwrap();
        let open = RepositoryInfo { id, default_branch: "main".into(), can_push: None, archived: false };
        assert_eq!(closed_to_us(&open), None);
        assert_eq!(closed_to_us(&RepositoryInfo { can_push: Some(true), ..open.clone() }), None);
        let refused = closed_to_us(&RepositoryInfo { can_push: Some(false), ..open.clone() }).unwrap();
        assert!(refused.contains("*Contents: write*"), "{refused}");
        assert!(closed_to_us(&RepositoryInfo { archived: true, ..open }).unwrap().contains("archived"));
    }
}
