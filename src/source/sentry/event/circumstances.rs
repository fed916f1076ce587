//! What surrounded the error: breadcrumbs, the request, tags, and the tracker's own trouble with the event.
//!
//! Invariant: no header that carries a credential or identifies a person gets in.

use serde_json::Value;
use url::Url;

use super::Sections;
use super::field;
use super::text;
use crate::evidence::{Breadcrumb, Request};

/// Most breadcrumbs, counted from the last.
const BREADCRUMBS: usize = 50;
/// Longest message or data of a breadcrumb, in bytes.
const BREADCRUMB: usize = 1024;
/// Most headers of the request.
const HEADERS: usize = 40;
/// Longest header value, address or query, in bytes.
const REQUEST_LINE: usize = 2 * 1024;
/// Longest body of the request, in bytes.
const BODY: usize = 4 * 1024;
/// Most tags.
const TAGS: usize = 100;
/// Longest value of a tag, in bytes.
const TAG: usize = 512;
/// Most processing errors.
pub(super) const PROCESSING_ERRORS: usize = 20;
/// Most contexts and pieces of extra data.
const MORE: usize = 60;
/// Longest of them, in bytes.
const ONE_MORE: usize = 1024;

/// Headers that say who a person is or where they are.
const PERSONAL_HEADERS: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Parts of header names that announce a credential.
const CREDENTIAL_WORDS: [&str; 10] =
    ["cookie", "auth", "token", "secret", "passw", "session", "api-key", "apikey", "signature", "csrf"];

/// The last breadcrumbs, oldest first.
pub(super) fn breadcrumbs(sections: Sections<'_>) -> Vec<Breadcrumb> {
    let all = field::list(sections.get("breadcrumbs"));
    let last = all.get(all.len().saturating_sub(BREADCRUMBS)..).unwrap_or_default();
    last.iter().filter(|crumb| crumb.is_object()).map(breadcrumb).collect()
}

fn breadcrumb(crumb: &Value) -> Breadcrumb {
    Breadcrumb {
        at: field::moment(crumb, &["timestamp"]),
        category: field::short(crumb, &["category", "type"]),
        level: field::short(crumb, &["level"]),
        message: field::long(crumb, &["message"], BREADCRUMB),
        data: crumb.get("data").and_then(|data| field::printed(data, BREADCRUMB)),
    }
}

/// The HTTP request; `None` where the event has none or an empty one.
pub(super) fn request(sections: Sections<'_>) -> Option<Request> {
    let section = sections.get("request")?;
    let headers = section.get("headers").map(field::pairs).unwrap_or_default();
    let request = Request {
        method: field::short(section, &["method"]),
        url: section.get("url").and_then(Value::as_str).map(address).filter(|url| !url.is_empty()),
        query: field::any(section, &["query", "query_string"]).and_then(query),
        headers: headers
            .into_iter()
            .filter(|(name, _)| !is_withheld(name))
            .take(HEADERS)
            .filter_map(|(name, value)| Some((name, field::printed(value, REQUEST_LINE)?)))
            .collect(),
        body: section.get("data").and_then(|body| field::printed(body, BODY)),
    };
    (request != Request::default()).then_some(request)
}

pub(super) fn is_withheld(header: &str) -> bool {
    let header = header.to_ascii_lowercase().replace('_', "-");
    PERSONAL_HEADERS.contains(&header.as_str()) || CREDENTIAL_WORDS.iter().any(|word| header.contains(word))
}

/// The address without a user name and password.
fn address(url: &str) -> String {
    let clean = Url::parse(url).ok().filter(|url| !url.username().is_empty() || url.password().is_some());
    let clean = clean.and_then(|mut url| {
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url.to_string())
    });
    text::line(clean.as_deref().unwrap_or(url), REQUEST_LINE)
}

/// `a=1&b=2`, from a text or from pairs.
fn query(query: &Value) -> Option<String> {
    let pairs = field::pairs(query);
    if pairs.is_empty() {
        return field::scalar(query, REQUEST_LINE);
    }
    let written: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", field::printed(value, REQUEST_LINE).unwrap_or_default()))
        .collect();
    Some(text::line(&written.join("&"), REQUEST_LINE))
}

/// Tags in the tracker's order. The `user` tag is left out: it is an address, a name or a mailbox, and explains no bug.
pub(super) fn tags(event: &Value) -> Vec<(String, String)> {
    let tags = event.get("tags").map(field::pairs).unwrap_or_default();
    tags.into_iter()
        .filter(|(name, _)| name != "user")
        .take(TAGS)
        .filter_map(|(name, value)| Some((name, field::printed(value, TAG)?)))
        .collect()
}

/// Contexts (runtime, device, cloud and those of the program's own) and extra data, each on one line. The context of the
/// trace is the trace's own part.
pub(super) fn more(event: &Value) -> Vec<(String, String)> {
    let section = |name: &'static str, label: &'static str| {
        let values = event.get(name).filter(|values| values.is_object()).map(field::pairs).unwrap_or_default();
        let named = values.into_iter().filter(move |(key, _)| (name, key.as_str()) != ("contexts", "trace"));
        named.filter_map(move |(key, value)| Some((format!("{label} {key}"), field::printed(value, ONE_MORE)?)))
    };
    // The program's own data first: it was added for the case that something goes wrong.
    let extra = section("extra", "extra").chain(section("context", "extra"));
    let dist = field::short(event, &["dist"]).map(|dist| ("dist".to_owned(), dist));
    extra.chain(section("contexts", "context")).chain(dist).take(MORE).collect()
}

/// Problems that the tracker had with the event, with the file they are about.
pub(super) fn processing_errors(event: &Value) -> Vec<String> {
    let about = |error: &Value| {
        let data = error.get("data")?;
        let about = field::short(data, &["url", "name", "image_path", "path"])?;
        Some(format!(" ({about})"))
    };
    let one = |error: &Value| {
        let parts = [field::short(error, &["type"]), field::short(error, &["message"])];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
        (!text.is_empty()).then(|| text + &about(error).unwrap_or_default())
    };
    field::list(event.get("errors")).iter().take(PROCESSING_ERRORS).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_with_credentials_or_addresses_of_people_are_left_out() {
        let headers = json!([
            ["Accept", "*/*"],
            ["Cookie", "a"],
            ["Authorization", "Bearer x"],
            ["X-Forwarded-For", "192.0.2.1"],
            ["X-Api-Key", "k"],
            ["PROXY_AUTHORIZATION", "p"],
            ["CF-Connecting-IP", "192.0.2.1"],
            ["X-CSRF-Token", "t"],
            ["Host", "shop.example"],
        ]);
        let request = request(Sections::of(&json!({ "request": { "headers": headers } }))).unwrap();
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Accept", "Host"]);
    }

    #[test]
    fn a_password_in_the_address_is_left_out() {
        let event = json!({ "request": { "url": "https://bob:hunter2@shop.example/cart?a=1" } });
        assert_eq!(request(Sections::of(&event)).unwrap().url.as_deref(), Some("https://shop.example/cart?a=1"));
    }

    #[test]
    fn an_empty_request_is_none() {
        assert_eq!(request(Sections::of(&json!({ "request": { "url": null, "headers": [], "query": [] } }))), None);
    }

    #[test]
    fn the_last_fifty_breadcrumbs_are_kept_oldest_first() {
        let crumbs: Vec<_> = (0..120).map(|n| json!({ "message": n.to_string(), "data": {} })).collect();
        let kept = breadcrumbs(Sections::of(&json!({ "breadcrumbs": crumbs })));
        assert_eq!(kept.len(), BREADCRUMBS);
        assert_eq!(kept[0].message.as_deref(), Some("70"));
        assert_eq!(kept[49].message.as_deref(), Some("119"));
        assert_eq!(kept[0].data, None);
    }

    #[test]
    fn contexts_and_extra_data_are_kept_in_either_spelling() {
        let webhook = json!({ "extra": { "cart": [1] }, "contexts": { "runtime": { "name": "CPython" }, "trace": { "op": "x" } } });
        let api = json!({ "context": { "cart": [1] }, "contexts": { "runtime": { "name": "CPython" } } });
        let expected = [
            ("extra cart".to_owned(), "[1]".to_owned()),
            ("context runtime".to_owned(), r#"{"name":"CPython"}"#.to_owned()),
        ];
        assert_eq!(more(&webhook), expected);
        assert_eq!(more(&api), expected);
    }

    #[test]
    fn tags_are_read_as_pairs_and_as_objects_without_the_user() {
        let pairs = tags(&json!({ "tags": [["user", "ip:192.0.2.1"], ["region", "eu"], null, ["odd"]] }));
        let objects =
            tags(&json!({ "tags": [{ "key": "user", "value": "id:1" }, { "key": "region", "value": "eu" }] }));
        assert_eq!(pairs, [("region".to_owned(), "eu".to_owned())]);
        assert_eq!(objects, pairs);
    }
}
