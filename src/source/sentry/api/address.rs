//! Builds the addresses of API endpoints, and decides which servers may see the token.
//!
//! Invariant: a name from an alert fills exactly one segment of a path; the token goes to the configured server, and to the
//! region that this server named over a connection nobody else could write to.

use serde_json::Value;
use url::{Host, Url};

use super::error::SentryError;
use crate::source::sentry::event::text;

/// Longest name that can be part of a path, in bytes. Sentry's longest, the version of a release, has up to 250.
const NAME: usize = 250;

/// A name that becomes one segment of a path.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// Ours.
    Fixed(&'static str),
    /// From an alert, a person or an answer: what it should be, and what it is.
    Name(&'static str, &'a str),
}

/// Reads and checks the configured base address.
pub(super) fn base(text: &str) -> Result<Url, SentryError> {
    let url = Url::parse(text.trim()).map_err(|_| SentryError::Address("it is no address with a scheme and a host"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(SentryError::Address("it must begin with https:// or http://"));
    }
    if has_credentials(&url) {
        return Err(SentryError::Address("it contains a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SentryError::Address("it contains a query or a fragment"));
    }
    Ok(url)
}

/// `{base}/api/0/{parts}/?{query}`.
///
/// Encoding alone would keep a name in its segment, but proxies exist that decode `%2F` before they route; so a name with a
/// separator in it, which Sentry gives to nothing, is refused.
pub(super) fn endpoint(base: &Url, parts: &[Part<'_>], query: &[(&str, &str)]) -> Result<Url, SentryError> {
    let mut url = base.clone();
    {
        let mut segments = url.path_segments_mut().map_err(|()| SentryError::Address("it has no path"))?;
        segments.pop_if_empty().extend(["api", "0"]);
        for part in parts {
            match *part {
                Part::Fixed(segment) => segments.push(segment),
                Part::Name(_, name) if is_name(name) => segments.push(name),
                Part::Name(what, name) => return Err(SentryError::Name { what, name: text::line(name, 80) }),
            };
        }
        segments.push("");
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn is_name(name: &str) -> bool {
    let is_dots = matches!(name, "." | "..");
    !name.is_empty()
        && name.len() <= NAME
        && !is_dots
        && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

/// Host and path of an address, for messages.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path())
}

/// The region that an organisation's own answer names, if it may have the token.
pub(super) fn region(base: &Url, organisation: &Value) -> Option<Url> {
    let region = Url::parse(organisation.pointer("/links/regionUrl")?.as_str()?).ok()?;
    let safe = region.origin() == base.origin()
        || (region.scheme() == "https" && base.scheme() == "https")
        || (is_loopback(&region) && is_loopback(base));
    (safe && !has_credentials(&region) && region.has_host()).then_some(region)
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The cursor of the next page, from a `Link` header; `None` on the last one. Only the cursor is taken: the address beside it
/// is what a proxy makes of the server's name, and the token should not follow it.
pub(super) fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|link| link.contains(r#"rel="next""#) && link.contains(r#"results="true""#))?;
    let (_, cursor) = next.split_once(r#"cursor=""#)?;
    let (cursor, _) = cursor.split_once('"')?;
    (!cursor.is_empty() && cursor.len() <= NAME).then(|| cursor.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_path_of_the_base_stays_and_names_are_encoded() {
        let parts = [Part::Fixed("releases"), Part::Name("a release", "shop@1.0+build 7?x#y%2e")];
        let endpoint = endpoint(&url("https://example.com/sentry/"), &parts, &[("a", "b c")]).unwrap();
        let expected = "https://example.com/sentry/api/0/releases/shop@1.0+build%207%3Fx%23y%252e/?a=b+c";
        assert_eq!(endpoint.as_str(), expected);
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_segment(name in "(\\PC{0,12}|[./\\\\%?#2eEfF]{0,8})") {
            let parts = [Part::Fixed("organizations"), Part::Name("an organisation", &name), Part::Fixed("issues")];
            if let Ok(url) = endpoint(&url("https://sentry.io"), &parts, &[]) {
                let segments: Vec<_> = url.path_segments().unwrap().collect();
                prop_assert_eq!(segments.len(), 6);
                prop_assert_eq!(&segments[..3], &["api", "0", "organizations"]);
                prop_assert_eq!(&segments[4..], &["issues", ""]);
                prop_assert_eq!((url.query(), url.fragment()), (None, None));
            }
        }
    }

    #[test]
    fn a_region_gets_the_token_only_where_nobody_else_could_have_named_it() {
        let region = |base: &str, region: &str| {
            super::region(&url(base), &json!({ "links": { "regionUrl": region } })).is_some()
        };
        assert!(region("https://sentry.io", "https://us.sentry.io"));
        assert!(region("http://sentry.example.com", "http://sentry.example.com"));
        assert!(region("http://127.0.0.1:1", "http://localhost:2"));
        assert!(!region("https://sentry.io", "http://us.sentry.io"));
        assert!(!region("http://sentry.example.com", "https://us.sentry.io"));
        assert!(!region("https://sentry.io", "https://bob:pw@us.sentry.io"));
        assert!(!region("https://sentry.io", "file:///etc/passwd"));
    }

    #[test]
    fn an_address_with_a_password_or_without_a_host_is_refused() {
        for text in ["https://bob:pw@sentry.io", "sentry.io", "ftp://sentry.io", "https://sentry.io/?a=b", ""] {
            assert!(base(text).is_err(), "{text}");
        }
        assert!(base("https://sentry.io").is_ok());
    }

    #[test]
    fn the_next_page_is_known_only_where_it_has_results() {
        let link = |results| {
            format!(
                r#"<https://evil.example/?cursor=x>; rel="previous"; results="false"; cursor="0:0:1", <https://evil.example/>; rel="next"; results="{results}"; cursor="0:100:0""#
            )
        };
        assert_eq!(next_cursor(&link("true")).as_deref(), Some("0:100:0"));
        assert_eq!(next_cursor(&link("false")), None);
        assert_eq!(next_cursor("garbage"), None);
    }
}
