//! Finds out which issue a person means by what they pasted.
//!
//! Invariant: nothing is fetched here, and an address keeps its host, so that the client can refuse one that is not its own.

use std::path::{Path, PathBuf};

use url::{Host, Url};

/// What a person pasted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// An issue by the tracker's id, or by an address from a browser.
    Issue {
        /// The server that the address names; `None` where only an id was given.
        base: Option<Url>,
        /// Organisation slug, from the address or the configuration.
        org: Option<String>,
        /// The issue's id; some addresses have the short id in its place, and the API takes both.
        issue: String,
        /// The event that the address shows: an id, `latest`, `recommended` or `oldest`.
        event: Option<String>,
    },
    /// An issue by the id that people use.
    ShortId {
        /// Organisation slug from the configuration.
        org: Option<String>,
        /// The id in capitals, such as `WEB-1F`.
        short_id: String,
    },
    /// A file with the body of a webhook.
    Payload(PathBuf),
}

/// The text names no issue.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` names no Sentry issue: {why}. Give the address of an issue (https://acme.sentry.io/issues/123/), \
     a short id (WEB-1F), an issue's number, or the path of a webhook's body (alert.json)"
)]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

/// Reads any of the forms that people paste.
///
/// `default_org` is the configured organisation, for the forms that do not name one.
///
/// # Errors
/// Where the text has none of the forms; the message lists them.
pub fn parse(text: &str, default_org: Option<&str>) -> Result<Reference, ReferenceError> {
    let text = text.trim();
    let error = |why| ReferenceError { text: super::event::text::line(text, 200), why };
    let org = default_org.map(str::to_owned);
    if text.starts_with("https://") || text.starts_with("http://") {
        return from_address(text, org).map_err(error);
    }
    if is_number(text) {
        return Ok(Reference::Issue { base: None, org, issue: text.to_owned(), event: None });
    }
    let path = Path::new(text);
    if path.is_file() {
        return Ok(Reference::Payload(text.into()));
    }
    if text.contains('/') || path.extension().is_some_and(|extension| extension == "json") {
        return Err(error("there is no such file"));
    }
    if is_short_id(text) {
        return Ok(Reference::ShortId { org, short_id: text.to_ascii_uppercase() });
    }
    Err(error("it has none of the known forms"))
}

/// `…/issues/{id}/` and `…/issues/{id}/events/{event}/`, with the organisation before it or in the host name.
fn from_address(text: &str, default_org: Option<String>) -> Result<Reference, &'static str> {
    let url = Url::parse(text).map_err(|_| "the address cannot be read")?;
    let parts: Vec<&str> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let at = parts.iter().position(|part| *part == "issues").ok_or("the address has no /issues/ in it")?;
    let (before, after) = parts.split_at(at);
    let issue = match after {
        [_, issue, ..] if is_number(issue) || is_short_id(issue) => (*issue).to_owned(),
        _ => return Err("there is no issue's id after /issues/"),
    };
    let event = match after {
        [_, _, "events", event, ..] if is_name(event) => Some((*event).to_owned()),
        _ => None,
    };
    let named = match before {
        // `organizations/acme` of self-hosted and older addresses, and of the API; `acme/web` of much older ones.
        [.., "organizations", org] | [org, _] if is_name(org) && *org != "api" => Some((*org).to_owned()),
        _ => None,
    };
    let org = named.or_else(|| org_in_host(&url)).or(default_org);
    Ok(Reference::Issue { base: Some(origin(&url)?), org, issue, event })
}

/// Labels before `sentry.io` that are regions or services of Sentry's, not organisations.
const NOT_ORGANISATIONS: [&str; 7] = ["us", "us2", "de", "eu", "www", "app", "docs"];

/// `acme` of `acme.sentry.io`; the hosts of Sentry's regions name no organisation, nor does a self-hosted server.
pub(super) fn org_in_host(url: &Url) -> Option<String> {
    let org = url.domain()?.strip_suffix(".sentry.io")?;
    (is_name(org) && !NOT_ORGANISATIONS.contains(&org)).then(|| org.to_owned())
}

/// The address without path, query, fragment, user name and password.
fn origin(url: &Url) -> Result<Url, &'static str> {
    Url::parse(&url.origin().ascii_serialization()).map_err(|_| "the address names no server")
}

/// Whether an address of `pasted`'s server is one of the configured server `base`.
///
/// On sentry.io every organisation and every region has a host of its own; they are one service.
#[must_use]
pub fn is_same_server(base: &Url, pasted: &Url) -> bool {
    let on_sentry_io = |url: &Url| match url.host() {
        Some(Host::Domain(host)) => host == "sentry.io" || host.ends_with(".sentry.io"),
        _ => false,
    };
    let same = base.host() == pasted.host() && base.port_or_known_default() == pasted.port_or_known_default();
    // Behind a proxy, a self-hosted server is often configured as http and pasted as https.
    let same_without_port = base.host() == pasted.host() && base.port().is_none() && pasted.port().is_none();
    same || same_without_port || (on_sentry_io(base) && on_sentry_io(pasted))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `PROJECT-1F`: the project's slug, a hyphen, and a number in base 32.
fn is_short_id(text: &str) -> bool {
    let parts = text.rsplit_once('-');
    parts.is_some_and(|(project, number)| {
        is_name(project) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A slug or an id as Sentry makes them.
fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(text: &str) -> (Option<String>, Option<String>, String, Option<String>) {
        match parse(text, Some("default")).unwrap() {
            Reference::Issue { base, org, issue, event } => (base.map(String::from), org, issue, event),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_address_names_server_organisation_issue_and_event() {
        for (text, base, org, id, event) in [
            ("https://acme.sentry.io/issues/123/", "https://acme.sentry.io/", "acme", "123", None),
            ("https://acme.sentry.io/issues/123/events/abc/", "https://acme.sentry.io/", "acme", "123", Some("abc")),
            ("https://acme.sentry.io/issues/123?project=1#x", "https://acme.sentry.io/", "acme", "123", None),
            ("https://acme.sentry.io/issues/WEB-1F/", "https://acme.sentry.io/", "acme", "WEB-1F", None),
            ("https://sentry.io/organizations/acme/issues/123/?project=1", "https://sentry.io/", "acme", "123", None),
            ("https://us.sentry.io/organizations/acme/issues/123/", "https://us.sentry.io/", "acme", "123", None),
            ("https://app.sentry.io/issues/123/", "https://app.sentry.io/", "default", "123", None),
            ("https://us.sentry.io/issues/123/", "https://us.sentry.io/", "default", "123", None),
            ("https://sentry.io/acme/web/issues/123/", "https://sentry.io/", "acme", "123", None),
            ("https://sentry.io/api/0/organizations/acme/issues/123/", "https://sentry.io/", "acme", "123", None),
            ("https://sentry.io/api/0/issues/123/", "https://sentry.io/", "default", "123", None),
            (
                "http://sentry.example.com:9000/organizations/acme/issues/123/events/latest/",
                "http://sentry.example.com:9000/",
                "acme",
                "123",
                Some("latest"),
            ),
            ("https://sentry.example.com/issues/123/", "https://sentry.example.com/", "default", "123", None),
            ("https://bob:pw@sentry.example.com/issues/123/", "https://sentry.example.com/", "default", "123", None),
        ] {
            let expected = (Some(base.to_owned()), Some(org.to_owned()), id.to_owned(), event.map(str::to_owned));
            assert_eq!(issue(text), expected, "{text}");
        }
    }

    #[test]
    fn bare_ids_belong_to_the_configured_organisation() {
        assert_eq!(issue(" 6507376925\n"), (None, Some("default".to_owned()), "6507376925".to_owned(), None));
        for (text, short_id) in [("WEB-1F", "WEB-1F"), ("web-api-2KQ", "WEB-API-2KQ")] {
            let expected = Reference::ShortId { org: Some("acme".to_owned()), short_id: short_id.to_owned() };
            assert_eq!(parse(text, Some("acme")), Ok(expected));
        }
    }

    #[test]
    fn a_file_is_a_payload_and_must_exist() {
        for suffix in [".json", ".payload", ""] {
            let file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
            let path = file.path().to_str().unwrap();
            assert_eq!(parse(path, None), Ok(Reference::Payload(path.into())));
        }
        for path in ["no-such-file.json", "no/such/file"] {
            let error = parse(path, None).unwrap_err().to_string();
            assert!(error.contains("there is no such file"), "{error}");
        }
    }

    #[test]
    fn an_unknown_form_is_refused_with_the_known_ones() {
        for text in [
            "",
            "help me",
            "https://sentry.io/",
            "https://acme.sentry.io/issues/",
            "https://acme.sentry.io/issues/../..",
            "https://acme.sentry.io/issues/%2e%2e%2fmembers/",
            "https://acme.sentry.io/issues/feedback/",
            "-1F",
            "WEB-",
            "../../etc-1",
        ] {
            let error = parse(text, Some("acme")).unwrap_err().to_string();
            assert!(
                error.contains("https://acme.sentry.io/issues/123/") && error.contains("WEB-1F"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn only_sentry_io_spreads_over_several_hosts() {
        let same = |base: &str, pasted: &str| is_same_server(&Url::parse(base).unwrap(), &Url::parse(pasted).unwrap());
        assert!(same("https://sentry.io", "https://acme.sentry.io"));
        assert!(same("https://acme.sentry.io", "https://sentry.io"));
        assert!(same("http://sentry.example.com", "https://sentry.example.com"));
        assert!(!same("https://sentry.example.com", "https://acme.sentry.example.com"));
        assert!(!same("https://sentry.io", "https://evilsentry.io"));
        assert!(!same("https://sentry.io", "https://sentry.io.evil.example"));
        assert!(!same("http://127.0.0.1:9000", "http://127.0.0.1:9001"));
    }
}
