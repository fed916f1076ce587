//! Checks the address of a GitHub API and derives from it where git transfers go.
//!
//! Invariant: a token is only ever sent over TLS, or to this machine.

use url::{Host, Url};

use crate::forge::{ForgeError, RepositoryId};

/// The path under which GitHub Enterprise Server serves its REST API.
const ENTERPRISE_PATH: &str = "/api/v3";

/// Where a GitHub is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// Base of the REST API.
    pub(super) api: Url,
    /// Base of the repositories, without a slash at the end.
    web: String,
}

impl Address {
    /// Reads the API address as it stands in the configuration.
    ///
    /// # Errors
    /// [`ForgeError::Refused`] where it is no address that a token may be sent to.
    pub(super) fn parse(api_url: &str) -> Result<Self, ForgeError> {
        // The address is not repeated: somebody may have put a token into it.
        let refused = |why: &str| ForgeError::Refused {
            what: format!(
                "`forge.api_url` {why}; write `https://api.github.com`, or `https://HOST/api/v3` for GitHub Enterprise"
            ),
        };
        let api = Url::parse(api_url.trim().trim_end_matches('/')).map_err(|_| refused("is not an address"))?;
        let host = api.host().ok_or_else(|| refused("has no host"))?;
        if !api.username().is_empty() || api.password().is_some() {
            return Err(refused("holds a user name or password, which belongs into `forge.token`"));
        }
        if api.query().is_some() || api.fragment().is_some() {
            return Err(refused("has a query or a fragment"));
        }
        match api.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err(refused("is not encrypted, and a token would be sent over it")),
            _ => return Err(refused("is not an HTTP address")),
        }
        let web = web_address(&api, &host);
        Ok(Self { api, web })
    }

    /// Where git transfers a repository from and to.
    pub(super) fn repository(&self, id: &RepositoryId) -> String {
        format!("{}/{}/{}.git", self.web, id.owner(), id.name())
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// `api.github.com` is the API of `github.com`, `api.SUB.ghe.com` that of `SUB.ghe.com` (data residency); a server of
/// one's own has the API under a path of the same host.
fn web_address(api: &Url, host: &Host<&str>) -> String {
    let name = host.to_string();
    let name = match name.strip_prefix("api.") {
        Some(rest) if rest == "github.com" || rest.ends_with(".ghe.com") => rest,
        _ => &name,
    };
    let port = api.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = api.path().trim_end_matches('/');
    let path = path.strip_suffix(ENTERPRISE_PATH).unwrap_or(path);
    format!("{}://{name}{port}{path}", api.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_goes_to_the_host_that_belongs_to_the_api() {
        let id: RepositoryId = "acme/web".parse().expect("a sound name");
        for (api, git) in [
            ("https://api.github.com", "https://github.com/acme/web.git"),
            ("https://api.github.com/", "https://github.com/acme/web.git"),
            ("https://git.example.com/api/v3", "https://git.example.com/acme/web.git"),
            ("https://git.example.com:8443/api/v3/", "https://git.example.com:8443/acme/web.git"),
            ("https://api.acme.ghe.com", "https://acme.ghe.com/acme/web.git"),
            ("http://127.0.0.1:8099", "http://127.0.0.1:8099/acme/web.git"),
            ("http://[::1]:8099/api/v3", "http://[::1]:8099/acme/web.git"),
        ] {
            let address = Address::parse(api).unwrap_or_else(|error| panic!("{api}: {error}"));
            assert_eq!(address.repository(&id), git, "{api}");
        }
    }

    #[test]
    fn an_address_that_would_leak_or_lose_the_token_is_refused_without_repeating_it() {
        for api in [
            "http://git.example.com/api/v3",
            "https://someone:hunter2@git.example.com/api/v3",
            "https://git.example.com/api/v3?token=hunter2",
            "ftp://git.example.com",
            "git.example.com",
            "",
        ] {
            let error = Address::parse(api).expect_err(api).to_string();
            assert!(error.contains("forge.api_url") && !error.contains("hunter2"), "{api}: {error}");
        }
    }
}
