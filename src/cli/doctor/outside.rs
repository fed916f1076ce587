//! The doctor's questions to other people's servers.
//!
//! Invariant: reads only.

use super::{Finding, Refused, Report};
use crate::cli::{CliError, setup};
use crate::config::secret::Secrets;
use crate::config::{Config, ForgeKind, ProjectConfig};
use crate::forge::{Access, Forge, RepositoryId};
use crate::git::{Git, push};
use crate::source::sentry::api::{Identity, Sentry};

/// Asks the forge and Sentry about every project.
pub(super) async fn check(
    config: &Config,
    secrets: &Secrets,
    refused: &Refused<'_>,
    git: &Git,
    report: &mut Report<'_>,
) -> Result<(), CliError> {
    match refused.instead("forge.api_url") {
        Some(finding) => report.say("forge", finding)?,
        None => forge(config, secrets, git, report).await?,
    }
    match refused.instead("sentry.url") {
        Some(finding) => report.say("Sentry API", finding),
        None => sentry(config, secrets, refused, report).await,
    }
}

async fn forge(config: &Config, secrets: &Secrets, git: &Git, report: &mut Report<'_>) -> Result<(), CliError> {
    let forge = match setup::forge(config, secrets) {
        Ok(forge) => forge,
        Err(error) => return report.say("forge", Finding::Bad(error.to_string())),
    };
    report.say(&format!("forge: {}", forge.name()), access(config, &*forge).await)?;
    for project in &config.projects {
        let related = project.related.iter().map(|name| (name, false));
        for (name, own) in std::iter::once((&project.repository, true)).chain(related) {
            report.say(&format!("repository {name}"), repository(&*forge, git, name, own).await)?;
        }
    }
    Ok(())
}

async fn sentry(
    config: &Config,
    secrets: &Secrets,
    refused: &Refused<'_>,
    report: &mut Report<'_>,
) -> Result<(), CliError> {
    let token = secrets.sentry_token.as_ref().map(|secret| secret.value.clone());
    if token.is_none() {
        let text = "no token: evidence comes from the webhook alone; SENTRY_AUTH_TOKEN with event:read, project:read, \
                    org:read adds trace, suspect commits and the whole event";
        return report.say("Sentry API", Finding::Look(text.to_owned()));
    }
    match Sentry::new(&config.sentry.url, token) {
        Err(error) => report.say("Sentry API", Finding::Bad(error.to_string())),
        Ok(sentry) => {
            let finding = match sentry.identity().await {
                Ok(Identity { text, lacking }) if lacking.is_empty() => {
                    Finding::Good(format!("{} as {text}", config.sentry.url))
                }
                Ok(Identity { text, lacking }) => Finding::Look(format!(
                    "{} as {text}; the token lacks {}, so evidence will be missing: give it these scopes",
                    config.sentry.url,
                    lacking.join(", ")
                )),
                Err(error) => Finding::Bad(error.to_string()),
            };
            report.say("Sentry API", finding)?;
            for project in &config.projects {
                if project.sentry.contains('/') || !refused.has("sentry.org") {
                    report
                        .say(&format!("project {}", project.sentry), sentry_project(config, &sentry, project).await)?;
                }
            }
            Ok(())
        }
    }
}

async fn access(config: &Config, forge: &dyn Forge) -> Finding {
    let access = match forge.access().await {
        Ok(access) => access,
        Err(error) => return Finding::Bad(error.to_string()),
    };
    let Access { identity, scopes, expires } = access;
    let until = expires.map(|expires| format!("; the token ends {expires}")).unwrap_or_default();
    match scopes {
        Some(scopes)
            if config.forge.kind == ForgeKind::Github
                && !scopes.iter().any(|scope| scope == "repo" || scope == "public_repo") =>
        {
            Finding::Bad(format!(
                "token of {identity} has the scopes [{}]; a classic token needs `repo`, a fine-grained one *Contents: write* and \
                 *Pull requests: write*{until}",
                scopes.join(", ")
            ))
        }
        Some(scopes) => Finding::Good(format!("{identity}, scopes [{}]{until}", scopes.join(", "))),
        // A fine-grained token. Each repository below shows whether it may be pushed to; opening is another permission.
        None if config.forge.kind == ForgeKind::Github => Finding::Look(format!(
            "{identity}{until}; whether the token may open pull requests could not be checked, GitHub tells it only when \
             one is opened: see that it has *Pull requests: write*"
        )),
        None => Finding::Good(format!("{identity}{until}")),
    }
}

/// `own` is whether jobs are for it; a related repository is changed only where an agent mends that one.
async fn repository(forge: &dyn Forge, git: &Git, name: &str, own: bool) -> Finding {
    let unwritable = |what: String| if own { Finding::Bad(what) } else { Finding::Look(what) };
    let id: RepositoryId = match name.parse() {
        Ok(id) => id,
        Err(what) => return Finding::Bad(what),
    };
    let info = match forge.repository(&id).await {
        Ok(info) => info,
        Err(error) => return Finding::Bad(error.to_string()),
    };
    if info.archived {
        return unwritable("it is archived, so no pull request can be opened".to_owned());
    }
    if info.can_push == Some(false) {
        return unwritable("the token may not push to it; give it *Contents: write*".to_owned());
    }
    if info.id != id {
        return Finding::Look(format!("it is called {} now; change the configuration", info.id));
    }
    // What GitHub says above is what the token's owner may do, and the token may do less.
    if let Err(error) = forge.find_pull_request(&id, "patchwright/doctor").await {
        return Finding::Bad(error.to_string());
    }
    let pushed = match forge.remote(&id).await {
        Ok(remote) => push::may_push(git, &remote).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match pushed {
        Ok(()) => Finding::Good(format!("default branch `{}`; it can be pushed to", info.default_branch)),
        Err(what) => unwritable(what),
    }
}

async fn sentry_project(config: &Config, sentry: &Sentry, project: &ProjectConfig) -> Finding {
    let (org, slug) = match project.sentry.split_once('/') {
        Some((org, slug)) => (Some(org), slug),
        None => (config.sentry.org.as_deref(), project.sentry.as_str()),
    };
    let Some(org) = org else {
        return Finding::Look(
            "its organisation is not known; set SENTRY_ORG, or write `sentry = \"org/slug\"`".to_owned(),
        );
    };
    match sentry.project_exists(org, slug).await {
        Ok(true) => Finding::Good(format!("{org}/{slug} is visible to the token")),
        Ok(false) => Finding::Bad(format!(
            "{org}/{slug} is not there or not visible to the token; check the slug in Sentry's settings"
        )),
        Err(error) => Finding::Bad(error.to_string()),
    }
}
