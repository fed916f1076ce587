//! Fetches submodules through mirrors of their own, without `git submodule`.
//!
//! Invariant: a submodule is a repository beside the one that has it: on the same host, since the credential is bound to
//! that, and below the same folder, so that each mirror has one address only. Its path is the one in the tree, which `git`
//! checks out as an empty folder.

use std::path::{Component, Path, PathBuf};

use git2::{ObjectType, Oid};
use url::Url;

use super::mirror::Mirror;
use super::objects::each_entry;
use super::remote::Address;
use super::{Git, GitError};
use crate::forge::{Remote, RepositoryId};

/// Most submodules of one repository.
const MAX: usize = 100;

/// How deep submodules may have submodules.
const MAX_DEPTH: usize = 4;

/// Where submodules come from, and where their mirrors are kept.
#[derive(Clone, Debug)]
pub struct Submodules {
    /// The remote of the repository that has them.
    pub remote: Remote,
    /// The folder of mirrors.
    pub mirrors: PathBuf,
}

/// A submodule whose objects are here.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) mirror: Mirror,
    pub(super) commit: String,
    /// Its place in the checkout of the outermost repository.
    pub(super) path: PathBuf,
}

/// A submodule as a commit has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Submodule {
    path: String,
    commit: String,
    url: Option<String>,
}

/// Fetches the submodules of a commit, and theirs; each comes after the one that it is in.
pub(super) async fn fetch_all(
    git: &Git,
    mirror: &Mirror,
    commit: &str,
    from: &Submodules,
) -> Result<Vec<Fetched>, GitError> {
    let mut fetched = Vec::new();
    let mut open = vec![(mirror.clone(), commit.to_owned(), PathBuf::new(), from.remote.clone(), 0)];
    while let Some((mirror, commit, folder, remote, depth)) = open.pop() {
        for submodule in submodules_of(&mirror, &commit).await? {
            let doing = format!("fetch the submodule {} of {}", submodule.path, mirror.id());
            let refuse = |why: &str| {
                Err(GitError::Unsupported {
                    what: format!("cannot {doing}: {why}; set `submodules = false` for the project to go on without"),
                })
            };
            if depth == MAX_DEPTH {
                return refuse("submodules are nested too deeply");
            }
            let path = Path::new(&submodule.path);
            if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                return refuse("its path leaves the repository");
            }
            let Some((id, url)) = submodule.url.as_deref().and_then(|url| beside(&remote, url)) else {
                return refuse("its address is missing or is no owner/name on the host of the repository");
            };
            let theirs = Remote { url: url.to_string(), authorization: remote.authorization.clone() };
            let module = Mirror::open(&from.mirrors, &id)?;
            module.fetch(git, &theirs).await?;
            let path = folder.join(path);
            open.push((module.clone(), submodule.commit.clone(), path.clone(), theirs, depth + 1));
            fetched.push(Fetched { mirror: module, commit: submodule.commit, path });
        }
    }
    Ok(fetched)
}

/// The submodules of a commit: paths and commits from its tree, addresses from its `.gitmodules`.
async fn submodules_of(mirror: &Mirror, commit: &str) -> Result<Vec<Submodule>, GitError> {
    let commit = commit.to_owned();
    mirror
        .read("list the submodules", move |repo| {
            let tree = repo.find_commit(Oid::from_str(&commit)?)?.tree()?;
            let mut found = Vec::new();
            each_entry(repo, &tree, &mut |path, entry| {
                if entry.kind() == Some(ObjectType::Commit)
                    && let Ok(path) = String::from_utf8(path)
                {
                    found.push(Submodule { path, commit: entry.id().to_string(), url: None });
                }
            })?;
            if found.len() > MAX {
                return Err(git2::Error::from_str(&format!("there are more than {MAX}")));
            }
            if let Some(entry) = tree.get_name(".gitmodules")
                && let Ok(blob) = repo.find_blob(entry.id())
            {
                let addresses = addresses(&String::from_utf8_lossy(blob.content()));
                for submodule in &mut found {
                    let known = addresses.iter().find(|(path, _)| *path == submodule.path);
                    submodule.url = known.map(|(_, url)| url.clone());
                }
            }
            Ok(found)
        })
        .await
}

/// Path and address of each section of `.gitmodules`. Only plain `key = value` lines are read: no includes, no escapes.
fn addresses(gitmodules: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(Option<String>, Option<String>)> = Vec::new();
    for line in gitmodules.lines().map(str::trim) {
        if line.starts_with('[') {
            sections.push((None, None));
        } else if let (Some((key, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            let value = Some(value.trim().to_owned());
            match key.trim() {
                "path" => section.0 = value,
                "url" => section.1 = value,
                _ => {}
            }
        }
    }
    sections.into_iter().filter_map(|(path, url)| Some((path?, url?))).collect()
}

/// The repository that the address of a submodule means, where only owner and name differ from the address of the
/// repository that has it, and its address written like that one. Relative ones are resolved as git-submodule(1) says:
/// `./` and `../` start at the repository's own address.
fn beside(remote: &Remote, url: &str) -> Option<(RepositoryId, Url)> {
    let own = Address::of(remote).ok()?;
    let url = if url.starts_with("./") || url.starts_with("../") {
        Url::parse(&format!("{}/", own.as_str().trim_end_matches('/'))).ok()?.join(url).ok()?
    } else {
        Url::parse(url).ok()?
    };
    let same = url.scheme() == own.url().scheme()
        && url.host_str() == own.url().host_str()
        && url.port_or_known_default() == own.url().port_or_known_default();
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let (folder, _, own_name) = split(own.url())?;
    let (theirs, owner, name) = split(&url)?;
    if !same || !plain || theirs != folder {
        return None;
    }
    let name = name.strip_suffix(".git").unwrap_or(name);
    let id: RepositoryId = format!("{owner}/{name}").parse().ok()?;
    let ending = if own_name.ends_with(".git") { ".git" } else { "" };
    let mut address = own.url().clone();
    address.set_path(&[folder.as_slice(), &[owner, &format!("{name}{ending}")]].concat().join("/"));
    Some((id, address))
}

/// The folders, the owner and the name in the path of an address.
fn split(url: &Url) -> Option<(Vec<&str>, &str, &str)> {
    let mut folder: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
    let name = folder.pop()?;
    let owner = folder.pop()?;
    Some((folder, owner, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved_at(own: &str, url: &str) -> Option<String> {
        beside(&Remote { url: own.to_owned(), authorization: None }, url).map(|(id, url)| format!("{id} {url}"))
    }

    fn resolved(url: &str) -> Option<String> {
        resolved_at("https://forge.test/acme/web.git", url)
    }

    #[test]
    fn a_relative_address_starts_at_the_repository() {
        assert_eq!(resolved("../lib.git").as_deref(), Some("acme/lib https://forge.test/acme/lib.git"));
        assert_eq!(resolved("../../other/lib").as_deref(), Some("other/lib https://forge.test/other/lib.git"));
    }

    #[test]
    fn another_host_scheme_or_port_gets_no_credential_of_ours() {
        for url in [
            "https://evil.test/acme/lib.git",
            "http://forge.test/acme/lib.git",
            "https://forge.test:8443/acme/lib.git",
            "https://me:pw@forge.test/acme/lib.git",
            "ext::sh -c id",
            "-u./x",
            "file:///etc",
        ] {
            assert_eq!(resolved(url), None, "{url}");
        }
    }

    #[test]
    fn in_a_folder_of_repositories_no_address_leads_out_of_it() {
        let own = "file:///srv/forge/acme/web.git";
        let lib = Some("acme/lib file:///srv/forge/acme/lib.git".to_owned());
        for url in ["../lib.git", "../lib", "file:///srv/forge/acme/lib"] {
            assert_eq!(resolved_at(own, url), lib, "{url}");
        }
        for url in [
            "file:///srv/other/acme/lib",
            "file:///home/me/private/web",
            "../../../other/acme/lib.git",
            "file:///srv/forge/deeper/acme/lib.git",
            "file:///srv/forge/%2e%2e/acme/lib.git",
            "file:///srv/forge/acme/..%2f..%2fx",
        ] {
            assert_eq!(resolved_at(own, url), None, "{url}");
        }
    }

    #[test]
    fn addresses_are_read_by_path_not_by_name() {
        let text = "[submodule \"a\"]\n\tpath = vendor/lib\n\turl = ../lib\n[submodule \"b\"]\n\tpath = x\n";
        assert_eq!(addresses(text), [("vendor/lib".to_owned(), "../lib".to_owned())]);
    }
}
