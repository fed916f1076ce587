//! An agent that looks for our credentials everywhere it can.
//!
//! Invariant: the places are dumped by the agent and by a recording `git`, and searched here, so that the search itself
//! puts no credential into any of them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::fake::sentry;
use crate::program::{Described, FIXER, SECRET};

/// How long a service may take to start.
const DEADLINE: Duration = Duration::from_secs(60);

/// The files below a folder that hold one of the texts.
fn holding(folder: &Path, texts: &[String]) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let content = std::fs::read(entry.path()).unwrap_or_default();
            for text in texts {
                if content.windows(text.len()).any(|part| part == text.as_bytes()) {
                    found.push(format!("`{text}` in {}", entry.path().display()));
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn an_agent_that_searches_everything_finds_no_credential() {
    let out = tempfile::tempdir().unwrap();
    let out_dir = out.path().display();
    let real = std::env::split_paths(&std::env::var("PATH").unwrap())
        .map(|folder| folder.join("git"))
        .find(|git| git.is_file())
        .unwrap();
    std::fs::create_dir(out.path().join("bin")).unwrap();
    let wrapper = out.path().join("bin/git");
    let record = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {out_dir}/argv\nexec {} \"$@\"\n", real.display());
    std::fs::write(&wrapper, record).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();

    let search = format!(
        "env > {out_dir}/env; cat > {out_dir}/prompt\n\
         for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done > {out_dir}/cmdlines 2>/dev/null\n\
         mkdir {out_dir}/workspace; cp -rL ../repo ../context ../out ../prompt.md ../homes ../tmps {out_dir}/workspace\n\
         git config --list --show-origin > {out_dir}/git-config; chmod -R u+w {out_dir}/workspace\n{FIXER}"
    );
    let path = format!("{}:{}", out.path().join("bin").display(), std::env::var("PATH").unwrap());
    let service = Described::with_agent(&search).on_github().with_sentry().environment("PATH", &path).start().await;
    service.work("1").await;
    let github = service.github.as_ref().unwrap();
    assert_eq!(github.pulls("acme/web").len(), 1);

    let basic = STANDARD.encode(format!("x-access-token:{}", github.token()));
    let secrets = [github.token().to_owned(), sentry::TOKEN.to_owned(), SECRET.to_owned(), basic];
    assert_eq!(holding(out.path(), &secrets), Vec::<String>::new());
    let argv = std::fs::read_to_string(out.path().join("argv")).unwrap();
    for used in ["fetch", "push"] {
        assert!(argv.contains(used), "the recording git has not seen `{used}`:\n{argv}");
    }
    let seen = std::fs::read_to_string(out.path().join("cmdlines")).unwrap();
    assert!(seen.contains("serve"), "the agent did not see our own process:\n{seen}");
    assert!(out.path().join("workspace/repo/.git/config").exists());
    // Nor are they kept where another user of the machine could read them.
    let log = service.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
    assert_eq!(holding(&service.folder().join("data"), &secrets), Vec::<String>::new());
}

#[tokio::test]
async fn the_environment_of_our_process_cannot_be_read_by_its_own_user() {
    let service = Described::with_agent(FIXER).prepare().await;
    let folder = service.folder();
    // Where any user can start it.
    let program = folder.join("patchwright");
    std::fs::copy(env!("CARGO_BIN_EXE_patchwright"), &program).unwrap();
    // Root may read everything, so that it works and looks as somebody else.
    let somebody = rustix::process::getuid().is_root().then_some(12_345);
    let as_somebody = |program: &Path| {
        let mut command = Command::new(program);
        if let Some(id) = somebody {
            command.uid(id).gid(id);
        }
        command.current_dir(folder).kill_on_drop(true);
        command
    };
    if let Some(id) = somebody {
        let owner = format!("{id}:{id}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(folder).status().await.unwrap().success());
    }
    let environment = service.command(&[]);
    let environment = environment.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut serving =
        as_somebody(&program).arg("serve").env_clear().envs(environment).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it says where it listens").unwrap();
    assert!(first.is_some_and(|line| line.contains("http://")));

    let can_read = async |process: &tokio::process::Child| {
        let environ = format!("/proc/{}/environ", process.id().unwrap());
        as_somebody(Path::new("cat")).arg(environ).stdout(Stdio::null()).status().await.unwrap().success()
    };
    let other = as_somebody(Path::new("sleep")).arg("600").spawn().unwrap();
    assert!(can_read(&other).await, "nothing can be read here, so the test shows nothing");
    assert!(!can_read(&serving).await, "the service's environment can be read");
}
