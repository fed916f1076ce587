//! Where a credential goes, and where it does not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;

use patchwright::forge::Remote;
use patchwright::git::GitError;
use patchwright::git::push::{push, remote_tip};
use secrecy::SecretString;

use super::fixture::{Repo, Side};

const SECRET: &str = "eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5";

fn with_credential(url: String) -> Remote {
    Remote { url, authorization: Some(SecretString::from(format!("Basic {SECRET}"))) }
}

/// A server that gives every request the same answer and passes on the heads of the requests.
fn server(answer: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/acme/web.git", listener.local_addr().unwrap());
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if heads.send(head.join("\n")).is_err() {
                return;
            }
        }
    });
    (url, received)
}

/// Whether any file below a folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            holds(&entry.path(), text)
        } else {
            fs::read(entry.path()).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
        }
    })
}

#[tokio::test]
async fn a_credential_is_in_no_argument_and_no_file() {
    let repo = Repo::new();
    let head = repo.commit("first", &[("a", "1\n")]);
    let side = Side::with_wrapper("printf '%s\\n' \"$@\" >> \"$DIR/argv\"; exec \"$REAL\" \"$@\"");
    let remote = with_credential(repo.remote().url);
    let mirror = side.mirror();
    mirror.fetch(&side.git, &remote).await.unwrap();
    push(&side.git, &mirror, &remote, &head, "fix", None).await.unwrap();
    remote_tip(&side.git, &remote, "fix").await.unwrap();
    side.checkout(&mirror, &head, "checkout").await;
    let argv = fs::read_to_string(side.path().join("argv")).unwrap();
    assert!(argv.contains("push") && argv.contains("fetch") && argv.contains("ls-remote"), "{argv}");
    assert!(!holds(side.path(), SECRET));
}

#[tokio::test]
async fn a_credential_is_sent_to_the_remote_as_a_header() {
    let (url, heads) = server("401 Unauthorized");
    let side = Side::new();
    let error = remote_tip(&side.git, &with_credential(url), "main").await.unwrap_err();
    assert!(matches!(error, GitError::Unauthorized { .. }), "{error}");
    assert!(!format!("{error:?}").contains(SECRET));
    let head = heads.recv().unwrap();
    assert!(head.contains(&format!("Authorization: Basic {SECRET}")), "{head}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_that_the_credential_goes_nowhere_else() {
    let (elsewhere, heads) = server("200 OK");
    let answer = format!("301 Moved Permanently\r\nLocation: {elsewhere}/info/refs?service=git-upload-pack");
    let (url, _received) = server(Box::leak(answer.into_boxed_str()));
    let side = Side::new();
    let error = side.mirror().fetch(&side.git, &with_credential(url)).await.unwrap_err();
    assert!(matches!(&error, GitError::NotFound { what } if what.contains("renamed")), "{error}");
    assert!(heads.try_recv().is_err(), "nothing arrived at the other address");
}

#[tokio::test]
async fn the_status_of_the_forge_decides_what_to_do() {
    for (answer, expected) in
        [("404 Not Found", "NotFound"), ("403 Forbidden", "Unauthorized"), ("503 Unavailable", "Unreachable")]
    {
        let (url, _heads) = server(answer);
        let side = Side::new();
        let error = side.mirror().fetch(&side.git, &with_credential(url)).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_forge_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/acme/web.git", listener.local_addr().unwrap());
    drop(listener);
    let side = Side::new();
    let error = side.mirror().fetch(&side.git, &with_credential(url)).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn the_version_of_git_is_known() {
    let version = Side::new().git.version().await.unwrap();
    assert!(version.is_supported(), "{version}");
}
