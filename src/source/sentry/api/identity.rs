//! Says what a token is and what it may read, for `patchwright doctor`.
//!
//! Invariant: nothing of the token itself is told.

use serde_json::Value;

use super::address::{self, Part};
use super::error::SentryError;
use super::{EVENT_READ, ORG_READ, PROJECT_READ, Sentry};
use crate::source::sentry::event::{list, short};

/// Most organisations that are named.
const ORGANISATIONS: usize = 10;

/// What Sentry says of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Whose it is, which scopes it has, and which organisations it sees, in one line.
    pub text: String,
    /// The scopes that it lacks.
    pub lacking: Vec<&'static str>,
}

impl Sentry {
    /// What the token is and what it may read.
    ///
    /// Source: `GET /api/0/` answers with `{version, auth: {scopes}, user}`, and with 401 to a token that is not valid.
    ///
    /// # Errors
    /// As [`SentryError`] says. Organisations that cannot be listed are no error.
    pub async fn identity(&self) -> Result<Identity, SentryError> {
        let index = address::endpoint(&self.base, &[], &[])?;
        let answer = self.transport.get(&index, ORG_READ).await?.body;
        let organisations = address::endpoint(&self.base, &[Part::Fixed("organizations")], &[])?;
        let organisations = self.pages(&organisations, ORG_READ).await;
        let (scopes, lacking) = scopes(&answer).unzip();
        let parts = [Some(owner(&answer)), scopes, organisations.ok().as_ref().and_then(|(all, _)| slugs(all))];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        Ok(Identity { text, lacking: lacking.unwrap_or_default() })
    }
}

fn owner(answer: &Value) -> String {
    let user = answer.get("user").unwrap_or(&Value::Null);
    match short(user, "username").or_else(|| short(user, "name")) {
        Some(name) => format!("token of {name}"),
        None => "token without a user".to_owned(),
    }
}

/// The scopes in words, and those that are lacking; `None` where Sentry does not list them.
fn scopes(answer: &Value) -> Option<(String, Vec<&'static str>)> {
    let scopes = answer.pointer("/auth/scopes")?.as_array()?;
    let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    let has = |wanted: &str| {
        let (kind, _) = wanted.split_once(':').unwrap_or((wanted, ""));
        scopes
            .iter()
            .any(|scope| *scope == wanted || *scope == format!("{kind}:write") || *scope == format!("{kind}:admin"))
    };
    let lacking = [EVENT_READ, PROJECT_READ, ORG_READ].into_iter().filter(|scope| !has(scope)).collect();
    let listed = crate::source::sentry::event::text::line(&scopes.join(", "), 500);
    Some((format!("scopes {listed}"), lacking))
}

fn slugs(organisations: &Value) -> Option<String> {
    let slugs: Vec<_> = list(Some(organisations)).iter().filter_map(|org| short(org, "slug")).collect();
    let more = slugs.len().saturating_sub(ORGANISATIONS);
    let named = slugs.into_iter().take(ORGANISATIONS).collect::<Vec<_>>().join(", ");
    match more {
        _ if named.is_empty() => None,
        0 => Some(format!("organisations {named}")),
        more => Some(format!("organisations {named} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scope_that_is_lacking_is_named_and_write_includes_read() {
        let answer = json!({ "auth": { "scopes": ["event:admin", "org:read"] } });
        let expected = ("scopes event:admin, org:read".to_owned(), vec!["project:read"]);
        assert_eq!(scopes(&answer), Some(expected));
        assert_eq!(scopes(&json!({ "auth": null })), None);
    }

    #[test]
    fn many_organisations_are_counted() {
        let organisations: Vec<_> = (0..12).map(|n| json!({ "slug": format!("o{n}") })).collect();
        assert!(slugs(&json!(organisations)).unwrap().ends_with("o9 and 2 more"));
    }
}
