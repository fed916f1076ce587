//! The doctor's questions to other people's servers.
//!
//! Invariant: reads only.

use super::{Finding, Report};
use crate::cli::{CliError, setup};
use crate::config::secret::Secrets;
use crate::config::{Config, ForgeKind, ProjectConfig};
use crate::forge::{Access, Forge, RepositoryId};
use crate::source::sentry::api::Sentry;

/// Asks the forge and Sentry about every project.
pub(super) async fn check(config: &Config, secrets: &Secrets, report: &mut Report<'_>) -> Result<(), CliError> {
    match setup::forge(config, secrets) {
        Err(error) => report.say("forge", Finding::Bad(error.to_string()))?,
        Ok(forge) => {
            report.say(&format!("forge: {}", forge.name()), access(config, &*forge).await)?;
            for project in &config.projects {
                let related = project.related.iter().map(|name| (name, false));
                for (name, own) in std::iter::once((&project.repository, true)).chain(related) {
                    report.say(&format!("repository {name}"), repository(&*forge, name, own).await)?;
                }
            }
        }
    }
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
                Ok(identity) => Finding::Good(format!("{} as {identity}", config.sentry.url)),
                Err(error) => Finding::Bad(error.to_string()),
            };
            report.say("Sentry API", finding)?;
            for project in &config.projects {
                report.say(&format!("project {}", project.sentry), sentry_project(config, &sentry, project).await)?;
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
        None => Finding::Good(format!("{identity}{until}")),
    }
}

async fn repository(forge: &dyn Forge, name: &str, own: bool) -> Finding {
    let id: RepositoryId = match name.parse() {
        Ok(id) => id,
        Err(what) => return Finding::Bad(what),
    };
    match forge.repository(&id).await {
        Err(error) => Finding::Bad(error.to_string()),
        Ok(info) if info.archived && own => Finding::Bad("it is archived, so no pull request can be opened".to_owned()),
        Ok(info) if info.can_push == Some(false) && own => {
            Finding::Bad("the token may not push to it; give it *Contents: write*".to_owned())
        }
        Ok(info) if info.id != id => Finding::Look(format!("it is called {} now; change the configuration", info.id)),
        Ok(info) => Finding::Good(format!("default branch `{}`", info.default_branch)),
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
