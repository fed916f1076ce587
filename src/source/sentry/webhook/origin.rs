//! Finds organisation and project in the addresses that a payload carries.
//!
//! Invariant: what comes out is a slug: letters, digits, `-` and `_`, safe in a path.

use url::Url;

use crate::source::sentry::locate::org_in_host;

/// What the addresses told.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) org: Option<String>,
    pub(super) project: Option<String>,
}

/// What the first addresses that tell it say; where none names the organisation, the default.
pub(super) fn find<'a>(addresses: impl Iterator<Item = &'a str>, default_org: Option<&str>) -> Origin {
    let mut found = Origin::default();
    for address in addresses {
        let here = read(address);
        found.org = found.org.or(here.org);
        found.project = found.project.or(here.project);
    }
    found.org = found.org.or_else(|| slug(default_org?));
    found
}

/// A slug, or nothing where the text is not one.
pub(super) fn slug(text: &str) -> Option<String> {
    let sound = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (sound && (1..=100).contains(&text.len())).then(|| text.to_owned())
}

/// `/api/0/projects/ORG/PROJECT/…`, `/api/0/organizations/ORG/…`, `/organizations/ORG/…`, and `https://ORG.sentry.io/…`.
fn read(address: &str) -> Origin {
    let Ok(url) = Url::parse(address) else { return Origin::default() };
    let path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    match path.as_slice() {
        ["api", "0", "projects", org, project, ..] => Origin { org: slug(org), project: slug(project) },
        ["api", "0", "organizations", org, ..] | ["organizations", org, ..] => Origin { org: slug(org), project: None },
        ["api", ..] => Origin::default(),
        _ => Origin { org: org_in_host(&url).and_then(|org| slug(&org)), project: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_names_its_organisation() {
        for (address, org, project) in [
            ("https://sentry.io/api/0/projects/acme/shop/events/e1/", Some("acme"), Some("shop")),
            ("https://us.sentry.io/api/0/organizations/acme/issues/7/", Some("acme"), None),
            ("https://sentry.example.com/organizations/acme/issues/7/events/e1/", Some("acme"), None),
            ("https://acme.sentry.io/issues/7/", Some("acme"), None),
            ("https://acme.sentry.io/projects/shop/", Some("acme"), None),
            ("https://sentry.io/api/0/issues/7/", None, None),
            ("https://us.sentry.io/issues/7/", None, None),
            ("https://eu.sentry.io/issues/7/", None, None),
            ("https://app.sentry.io/issues/7/", None, None),
            ("https://acme.sentry.io.evil.example/issues/7/", None, None),
            ("https://sentry.io/organizations/..%2Fadmin/issues/7/", None, None),
            ("not an address", None, None),
        ] {
            let expected = Origin { org: org.map(ToOwned::to_owned), project: project.map(ToOwned::to_owned) };
            assert_eq!(read(address), expected, "{address}");
        }
    }

    #[test]
    fn the_default_organisation_is_used_only_where_no_address_names_one() {
        let addresses = ["https://sentry.io/api/0/issues/7/", "https://acme.sentry.io/issues/7/"];
        assert_eq!(find(addresses.into_iter(), Some("other")).org.as_deref(), Some("acme"));
        assert_eq!(find(addresses.into_iter().take(1), Some("other")).org.as_deref(), Some("other"));
        assert_eq!(find(addresses.into_iter().take(1), Some("not/a/slug")).org, None);
    }
}
