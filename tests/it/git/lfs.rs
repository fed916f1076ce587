//! Git LFS, with the real `git-lfs` and a server on loopback.
//!
//! Invariant: the server speaks the batch API (git-lfs `docs/api/batch.md`) and knows one content.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::mpsc;

use patchwright::forge::Remote;
use patchwright::git::GitError;
use patchwright::git::checkout::{Extras, checkout};
use patchwright::git::objects::difference;
use secrecy::SecretString;

use super::fixture::{Repo, Side};

const CONTENT: &str = "hello";
const ID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn pointer(id: &str) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {}\n", CONTENT.len())
}

/// An LFS server that gives `content` for [`ID`] and nothing for others; passes on the heads of all requests.
fn server(content: &'static str) -> (Remote, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = format!("http://{address}/acme/web.git");
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (address, heads) = (address.clone(), heads.clone());
            std::thread::spawn(move || {
                let _ = answer(stream, &address, content, &heads);
            });
        }
    });
    (Remote { url, authorization: Some(SecretString::from("Basic Y2FuYXJ5")) }, received)
}

fn answer(mut stream: TcpStream, address: &str, content: &str, heads: &mpsc::Sender<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let _ = heads.send(head.clone());
    let answer = if head.starts_with("GET /content/") {
        content.to_owned()
    } else {
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let objects = asked["objects"].as_array().cloned().unwrap_or_default().into_iter().map(|mut object| {
            if object["oid"] == ID {
                let href = format!("http://{address}/content/{ID}");
                object["actions"] = serde_json::json!({ "download": { "href": href } });
            } else {
                object["error"] = serde_json::json!({ "code": 404, "message": "no such object" });
            }
            object
        });
        serde_json::json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() }).to_string()
    };
    let kind = "application/vnd.git-lfs+json";
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
    )
}

/// A checkout with LFS of a commit with these entries.
async fn checked_out(
    remote: &Remote,
    entries: &[(&str, u32, &[u8])],
) -> (Side, Result<(), GitError>, PathBuf, Option<String>) {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit_entries("main", "first", entries);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.path().join("checkout");
    let extras = Extras { lfs: Some(remote.clone()), submodules: None };
    let done = checkout(&side.git, &mirror, &head, &dest, &extras).await;
    let difference = difference(&mirror, &head, &dest).await.unwrap();
    (side, done, dest, difference)
}

#[tokio::test]
async fn files_of_lfs_are_filled_in_from_the_remote_whatever_the_repository_says() {
    let (remote, heads) = server(CONTENT);
    let pointer = pointer(ID);
    let entries: [(&str, u32, &[u8]); 4] = [
        (".gitattributes", 0o100_644, b"*.bin filter=lfs diff=lfs merge=lfs -text\n"),
        (".lfsconfig", 0o100_644, b"[lfs]\n\turl = https://evil.test/\n\tfetchexclude = *\n"),
        ("a.bin", 0o100_644, pointer.as_bytes()),
        ("tools/b.bin", 0o100_755, pointer.as_bytes()),
    ];
    let (_side, done, dest, difference) = checked_out(&remote, &entries).await;
    done.unwrap();
    for path in ["a.bin", "tools/b.bin"] {
        assert_eq!(fs::read_to_string(dest.join(path)).unwrap(), CONTENT, "{path}");
    }
    assert_eq!(fs::metadata(dest.join("tools/b.bin")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(difference, None, "a filled-in file is what its commit says");
    assert!(!dest.join(".git/lfs").exists());
    let heads: Vec<_> = heads.try_iter().collect();
    assert!(heads[0].starts_with("POST /acme/web.git/info/lfs/objects/batch "), "{heads:?}");
    assert!(heads[0].contains("Authorization: Basic Y2FuYXJ5"), "{heads:?}");
}

#[tokio::test]
async fn a_content_that_the_server_does_not_have_or_that_is_another_one_fails_the_checkout() {
    for (content, id) in [(CONTENT, "1".repeat(64)), ("hallo", ID.to_owned())] {
        let (remote, _heads) = server(content);
        let pointer = pointer(&id);
        let (_side, done, ..) = checked_out(&remote, &[("a.bin", 0o100_644, pointer.as_bytes())]).await;
        assert!(done.is_err(), "{id}");
    }
}

#[tokio::test]
async fn a_repository_without_lfs_files_asks_nobody() {
    let (remote, heads) = server(CONTENT);
    let (_side, done, _, difference) = checked_out(&remote, &[("a", 0o100_644, b"1\n")]).await;
    done.unwrap();
    assert_eq!((difference, heads.try_iter().count()), (None, 0));
}
