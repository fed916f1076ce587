//! Decides whether an alert is worth a run, before money is spent.
//!
//! Invariant: every "no" is a named outcome.

pub mod before_work;

use crate::alert::{Alert, Reason};
use crate::config::{Config, ProjectConfig};
use crate::outcome::Ignored;

/// Whether the alert is one to work on, by what it carries itself: known project, environment, level.
///
/// What an alert does not carry does not speak against it. A person's request is held to the project only.
///
/// # Errors
/// The reason why nothing is started.
pub fn admit<'a>(config: &'a Config, alert: &Alert) -> Result<&'a ProjectConfig, Ignored> {
    let project = config
        .project_for(&alert.org, &alert.project)
        .ok_or_else(|| Ignored::UnknownProject { project: format!("{}/{}", alert.org, alert.project) })?;
    fits(project, alert)?;
    Ok(project)
}

/// Whether an alert is one that its project wants worked on, by environment and level.
///
/// # Errors
/// The reason why nothing is started.
pub fn fits(project: &ProjectConfig, alert: &Alert) -> Result<(), Ignored> {
    if alert.reason == Reason::Requested {
        return Ok(());
    }
    if let Some(environment) = &alert.environment
        && !project.environments.is_empty()
        && !project.environments.contains(environment)
    {
        return Err(Ignored::Environment { environment: environment.clone() });
    }
    if let Some(level) = &alert.level
        && !project.levels.is_empty()
        && !project.levels.iter().any(|wanted| wanted.eq_ignore_ascii_case(level))
    {
        return Err(Ignored::Level { level: level.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(projects: serde_json::Value) -> Config {
        serde_json::from_value(serde_json::json!({ "project": projects })).unwrap()
    }

    fn alert(reason: Reason, environment: Option<&str>, level: Option<&str>) -> Alert {
        Alert {
            source: "sentry".into(),
            org: "acme".into(),
            project: "shop".into(),
            issue: "7".into(),
            reason,
            short_id: None,
            title: "boom".into(),
            level: level.map(Into::into),
            environment: environment.map(Into::into),
            release: None,
            event_id: None,
            web_url: None,
        }
    }

    #[test]
    fn an_entry_that_names_the_organisation_comes_before_one_that_does_not() {
        let config = config(serde_json::json!([
            {"sentry": "shop", "repository": "any/shop"},
            {"sentry": "acme/shop", "repository": "acme/shop"},
        ]));
        let project = admit(&config, &alert(Reason::New, None, None)).unwrap();
        assert_eq!(project.repository, "acme/shop");
    }

    #[test]
    fn a_project_of_another_organisation_is_unknown() {
        let config = config(serde_json::json!([{"sentry": "other/shop", "repository": "other/shop"}]));
        let refused = admit(&config, &alert(Reason::New, None, None));
        assert_eq!(refused, Err(Ignored::UnknownProject { project: "acme/shop".into() }));
    }

    #[test]
    fn environment_and_level_count_only_where_the_alert_carries_them() {
        let config =
            config(serde_json::json!([{"sentry": "shop", "repository": "a/b", "environments": ["production"]}]));
        assert!(admit(&config, &alert(Reason::New, None, None)).is_ok());
        assert!(admit(&config, &alert(Reason::New, Some("production"), Some("fatal"))).is_ok());
        assert!(admit(&config, &alert(Reason::New, None, Some("ERROR"))).is_ok());
        let staging = admit(&config, &alert(Reason::New, Some("staging"), None));
        assert_eq!(staging, Err(Ignored::Environment { environment: "staging".into() }));
        let warning = admit(&config, &alert(Reason::New, None, Some("warning")));
        assert_eq!(warning, Err(Ignored::Level { level: "warning".into() }));
    }

    #[test]
    fn a_person_who_asks_for_an_issue_gets_it_whatever_its_level() {
        let config =
            config(serde_json::json!([{"sentry": "shop", "repository": "a/b", "environments": ["production"]}]));
        assert!(admit(&config, &alert(Reason::Requested, Some("staging"), Some("info"))).is_ok());
    }
}
