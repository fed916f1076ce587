//! Repositories on our side: mirrors, checkouts, objects, pushes.
//!
//! Invariant: the `git` program runs only in folders that an agent cannot have written to and only through [`Git`],
//! whose environment and configuration are ours alone; what an agent wrote is read by git2 as objects, never by `git`.

pub mod checkout;
pub mod error;
mod lfs;
pub mod mirror;
pub mod objects;
pub mod pins;
pub mod push;
mod remote;
mod submodules;
pub mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

pub use self::error::GitError;
use self::remote::Address;
pub use self::version::Version;
use crate::forge::Remote;
use crate::process::{self, Ended, Program, Stop, ToolTerms};

/// Variables of our own environment that `git` may be given: the way to a proxy, and the certificates to trust.
pub const NETWORK_VARIABLES: [&str; 11] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// Configuration of every call. It goes through the environment, because arguments are public on the machine and a
/// file can be changed by whoever runs under the same user.
const CONFIG: [(&str, &str); 38] = [
    // Nothing that a repository or its configuration names is ever started.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.sshCommand", "/bin/false"),
    ("core.askPass", "/bin/false"),
    ("credential.helper", ""),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.writeCommitGraph", "false"),
    // Only the scheme of the remote is allowed again, see `environment`.
    ("protocol.allow", "never"),
    // The header with the credential must not follow a redirect to another host.
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    // Trees that would write into `.git` on some file system are refused on every one.
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.symlinks", "true"),
    ("core.autocrlf", "false"),
    // A broken or malicious object is refused on arrival. The kinds below are in the history of many sound projects
    // and harmless; without them those could not be fetched at all.
    ("transfer.fsckObjects", "true"),
    ("fetch.fsck.badDate", "ignore"),
    ("fetch.fsck.badDateOverflow", "ignore"),
    ("fetch.fsck.badEmail", "ignore"),
    ("fetch.fsck.badName", "ignore"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingEmail", "ignore"),
    ("fetch.fsck.missingNameBeforeEmail", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.missingSpaceBeforeEmail", "ignore"),
    ("fetch.fsck.multipleAuthors", "ignore"),
    ("fetch.fsck.zeroPaddedDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("advice.detachedHead", "false"),
    ("init.defaultBranch", "main"),
];

/// The `git` program, with an environment and a configuration that are ours alone. `Debug` leaves out the values of
/// network variables, since the address of a proxy may hold a password.
#[derive(Clone)]
pub struct Git {
    path_env: String,
    home: PathBuf,
    supervisor: PathBuf,
    network: BTreeMap<String, String>,
    timeout: Duration,
    cancel: CancellationToken,
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network: Vec<_> = self.network.keys().collect();
        f.debug_struct("Git").field("path_env", &self.path_env).field("network", &network).finish_non_exhaustive()
    }
}

/// Whether libgit2 can read the configuration of the user that we run as. It does so whenever it opens a repository,
/// although nothing there has an effect on us.
///
/// # Errors
/// Where it cannot, with what to mend.
pub fn readable_configuration() -> Result<(), GitError> {
    git2::Config::open_default()
        .map(drop)
        .map_err(|error| GitError::while_doing("read the user's configuration", error))
}

/// What a call of `git` printed: standard output whole, standard error cleaned of credentials.
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Git {
    /// A `git` that is looked up on `path_env`, has the empty private folder `home` as HOME, and is ended after
    /// `timeout` or when `cancel` is cancelled, by the `patchwright` executable `supervisor`.
    #[must_use]
    pub fn new(
        path_env: &str,
        home: PathBuf,
        supervisor: PathBuf,
        timeout: Duration,
        cancel: CancellationToken,
    ) -> Self {
        Self { path_env: path_env.to_owned(), home, supervisor, network: BTreeMap::new(), timeout, cancel }
    }

    /// Also gives `git` those of the variables that are in [`NETWORK_VARIABLES`]; others are left out.
    #[must_use]
    pub fn with_network_variables<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let known = variables.into_iter().filter(|(name, _)| NETWORK_VARIABLES.contains(name));
        self.network = known.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self
    }

    /// The version of the program.
    ///
    /// # Errors
    /// Where there is no `git`, or it does not say its version.
    pub async fn version(&self) -> Result<Version, GitError> {
        let printed = self.run(&self.home, &["version"], None, &[]).await?.succeeded("ask git for its version")?;
        printed.stdout.parse().map_err(|what| GitError::Other { what })
    }

    /// Whether Git LFS is installed.
    ///
    /// # Errors
    /// Where there is no `git`.
    pub async fn has_lfs(&self) -> Result<bool, GitError> {
        Ok(self.run(&self.home, &["lfs", "version"], None, &[]).await?.code == 0)
    }

    /// How long a transfer, and the wait for a mirror that is in use, may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether we are to stop.
    pub(crate) const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs `git` in `dir`; only with a `remote` may it speak to anyone. Exit codes other than 0 are not errors here.
    pub(crate) async fn run(
        &self,
        dir: &Path,
        args: &[&str],
        remote: Option<&Remote>,
        config: &[(&str, &str)],
    ) -> Result<Printed, GitError> {
        self.run_holding(None, dir, args, remote, config).await
    }

    /// The same, holding the lock of a file until `git` is gone, even where we are gone before.
    pub(crate) async fn run_holding(
        &self,
        holds: Option<File>,
        dir: &Path,
        args: &[&str],
        remote: Option<&Remote>,
        config: &[(&str, &str)],
    ) -> Result<Printed, GitError> {
        let address = remote.map(Address::of).transpose()?;
        let argv = std::iter::once("git").chain(args.iter().copied()).map(str::to_owned).collect();
        let env = self.environment(dir, remote, address.as_ref(), config);
        let program = Program { argv, dir: dir.to_path_buf(), env, stdin: Vec::new() };
        let terms = ToolTerms { supervisor: &self.supervisor, timeout: self.timeout, cancel: &self.cancel, holds };
        let output =
            process::run_tool(&program, terms).await.map_err(|error| GitError::Other { what: error.to_string() })?;
        let secret = remote.and_then(|remote| remote.authorization.as_ref()).map(|secret| secret.expose_secret());
        let stderr = error::clean(&output.stderr, secret);
        let command = args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default();
        match output.ended {
            Ended::Exit(code) => Ok(Printed { code, stdout: lossy(output.stdout), stderr }),
            // Told to end, as all processes of a service are when it is stopped: what it did can be done again.
            Ended::Signal(signal) if [1, 2, 15].contains(&signal) => Err(GitError::Cancelled),
            Ended::Signal(signal) => {
                Err(GitError::Other { what: format!("git was ended by signal {signal}, not by us; {stderr}") })
            }
            Ended::Stopped(Stop::Cancelled) => Err(GitError::Cancelled),
            Ended::Stopped(Stop::Output(most)) => {
                Err(GitError::Other { what: format!("git {command} printed more than {most} and was stopped") })
            }
            Ended::Stopped(_) => Err(GitError::TimedOut {
                what: format!(
                    "git {command} did not end within {:?}; raise `git.transfer_timeout` if the repository is very large",
                    self.timeout
                ),
            }),
        }
    }

    /// The whole environment of one call.
    fn environment(
        &self,
        dir: &Path,
        remote: Option<&Remote>,
        address: Option<&Address>,
        config: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        let mut env = self.network.clone();
        let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
        set("PATH", &self.path_env);
        set("HOME", &self.home.to_string_lossy());
        set("LANG", "C.UTF-8");
        // A call for one folder never takes effect in a repository above it.
        set("GIT_CEILING_DIRECTORIES", &dir.parent().unwrap_or(dir).to_string_lossy());
        set("GIT_CONFIG_NOSYSTEM", "1");
        set("GIT_CONFIG_GLOBAL", "/dev/null");
        set("GIT_ATTR_NOSYSTEM", "1");
        set("GIT_TERMINAL_PROMPT", "0");
        set("GIT_OPTIONAL_LOCKS", "0");
        set("GIT_NO_REPLACE_OBJECTS", "1");
        set("GIT_ASKPASS", "/bin/false");
        set("GIT_LFS_SKIP_SMUDGE", "1");
        set("GIT_ADVICE", "0");

        let mut pairs: Vec<(String, String)> =
            CONFIG.iter().chain(config).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Some(address) = address {
            set("GIT_ALLOW_PROTOCOL", address.scheme());
            pairs.push((format!("protocol.{}.allow", address.scheme()), "always".to_owned()));
        }
        if let (Some(address), Some(secret)) = (address, remote.and_then(|remote| remote.authorization.as_ref())) {
            let header = format!("Authorization: {}", secret.expose_secret());
            pairs.push((format!("http.{}.extraHeader", address.as_str()), header));
        }
        set("GIT_CONFIG_COUNT", &pairs.len().to_string());
        for (n, (key, value)) in pairs.iter().enumerate() {
            set(&format!("GIT_CONFIG_KEY_{n}"), key);
            set(&format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        env
    }
}

impl Printed {
    /// The same, or the error that the exit code and the text on standard error mean.
    pub(crate) fn succeeded(self, what: &str) -> Result<Self, GitError> {
        if self.code == 0 { Ok(self) } else { Err(error::classify(what, &self.stderr)) }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Runs work on files and objects off the runtime's threads, since libgit2 and the file system block.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<GitError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(GitError::Other { what: format!("work on a repository broke off: {error}") }.into()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn git() -> Git {
        let nowhere = PathBuf::from("/nonexistent");
        Git::new("/usr/bin", nowhere.clone(), nowhere, Duration::from_secs(1), CancellationToken::new())
    }

    fn value<'a>(env: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
        let index = env.iter().find(|(name, value)| name.starts_with("GIT_CONFIG_KEY_") && *value == key)?.0;
        env.get(&index.replace("KEY", "VALUE")).map(String::as_str)
    }

    #[test]
    fn only_the_scheme_of_the_remote_is_allowed_and_the_credential_is_bound_to_its_address() {
        let url = "https://forge.test/acme/web.git".to_owned();
        let remote = Remote { url, authorization: Some(SecretString::from("Basic c2VjcmV0")) };
        let address = Address::of(&remote).ok();
        let env = git().environment(Path::new("/tmp"), Some(&remote), address.as_ref(), &[]);
        assert_eq!(value(&env, "protocol.allow"), Some("never"));
        assert_eq!(value(&env, "protocol.https.allow"), Some("always"));
        assert_eq!(value(&env, "protocol.file.allow"), None);
        let header = value(&env, "http.https://forge.test/acme/web.git.extraHeader");
        assert_eq!(header, Some("Authorization: Basic c2VjcmV0"));
    }

    #[test]
    fn without_a_remote_no_protocol_is_allowed() {
        let env = git().environment(Path::new("/tmp"), None, None, &[]);
        assert!(!env.contains_key("GIT_ALLOW_PROTOCOL"));
        assert!(!env.values().any(|value| value.ends_with(".allow") && value != "protocol.allow"));
    }

    #[test]
    fn of_our_environment_only_the_way_to_the_network_is_passed_on() {
        let git = git().with_network_variables([("HTTPS_PROXY", "http://proxy:3128"), ("GITHUB_TOKEN", "x")]);
        let env = git.environment(Path::new("/tmp"), None, None, &[]);
        assert_eq!(env.get("HTTPS_PROXY").map(String::as_str), Some("http://proxy:3128"));
        assert!(!env.contains_key("GITHUB_TOKEN"));
        assert!(!format!("{git:?}").contains("3128"));
    }
}
