//! Addresses of the database, of Sentry and of the forge.
//!
//! Invariant: an address is never repeated in a message, since people put passwords into them.

use std::path::PathBuf;

use url::{Host, Url};

use crate::config::{Config, ForgeKind, Problem};

pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    problems.extend(config.database_path().err());
    problems.extend(http("sentry.url", &config.sentry.url, "https://sentry.io"));
    if config.forge.kind == ForgeKind::Github {
        problems.extend(http("forge.api_url", &config.forge.api_url, "https://api.github.com"));
    }
}

/// The path of the database's file.
pub(in crate::config) fn store(address: &str) -> Result<PathBuf, Problem> {
    const KEY: &str = "store.url";
    let Some((scheme, path)) = address.split_once(':') else {
        let what = "`store.url` is no address of a database";
        return Err(Problem::error(KEY, what, "write `sqlite:` and the path of the database file"));
    };
    if scheme != "sqlite" {
        let known = matches!(scheme, "postgres" | "postgresql" | "mysql" | "mariadb");
        let what = if known {
            format!("`store.url` names a {scheme} database")
        } else {
            "`store.url` is no SQLite database".to_owned()
        };
        let remedy =
            "Patchwright keeps its jobs in SQLite: write `sqlite:PATH`, or set `store.url` apart from DATABASE_URL";
        return Err(Problem::error(KEY, what, remedy));
    }
    let path = path.strip_prefix("//").unwrap_or(path);
    // Where an address has its server, which no file has.
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        let what = "`store.url` has credentials in it, and a file needs none";
        return Err(Problem::error(KEY, what, "write `sqlite:` and a path; a first folder with `@` as `./NAME`"));
    }
    if path.is_empty() || path.contains(":memory:") || path.contains('?') {
        let what = "`store.url` names no file, so accepted alerts would be lost";
        return Err(Problem::error(KEY, what, "write `sqlite:` and a path, without parameters"));
    }
    Ok(PathBuf::from(path))
}

fn http(key: &str, address: &str, example: &str) -> Option<Problem> {
    let remedy = format!("write it like `{example}`");
    let url = match Url::parse(address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => return Some(Problem::error(key, format!("`{key}` is no http(s) address"), remedy)),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "take them out and give the token by reference, `env:NAME` or `file:PATH`";
        return Some(Problem::error(key, format!("`{key}` has credentials in it"), remedy));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some(Problem::error(key, format!("`{key}` has a query or fragment"), remedy));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let what = format!("`{key}` is plain http: its token crosses the network readable by anyone");
        return Some(Problem::warning(key, what, "use https"));
    }
    None
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sqlite_file_keeps_what_was_accepted() {
        for good in ["sqlite:data/x.db", "sqlite:///var/lib/x.db", "sqlite://x.db"] {
            assert!(store(good).is_ok(), "{good}");
        }
        for bad in [
            "x.db",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:x.db?mode=ro",
            "sqlite:x.db?key=hunter2",
            "sqlite://app:hunter2@db/x.db",
            "sqlite:app:hunter2@db/x.db",
            "postgres://u:hunter2@db/x",
        ] {
            let problem = store(bad).expect_err(bad);
            assert!(problem.is_error() && !problem.to_string().contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in ["https://ghe.example.com/api/v3", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9000/"]
        {
            assert_eq!(http("forge.api_url", good, ""), None, "{good}");
        }
        assert!(!http("sentry.url", "http://sentry.internal", "").expect("a warning").is_error());
        for bad in
            ["sentry.io", "ftp://sentry.io", "https://", "https://bot:hunter2@sentry.io", "https://sentry.io/?a=b"]
        {
            let problem = http("sentry.url", bad, "").expect(bad);
            assert!(problem.is_error() && !problem.to_string().contains("hunter2"), "{problem}");
        }
    }
}
