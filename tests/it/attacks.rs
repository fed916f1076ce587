//! Attacks on the whole path: a hostile agent and hostile commands, run by the real binary.
//!
//! Invariant: each test shows one attack that would succeed without the wall it is named after.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use patchwright::workspace;
use serde_json::Value;
use tempfile::TempDir;

use crate::git::fixture::Repo;

/// The key of a model, as an operator passes it to an agent.
const MODEL_KEY: &str = "canary-1f0c9e7d2a4e6f8a3b4c5d6e";

/// A folder with a forge, a configuration and one repository whose test is red until `app.txt` says `fixed`.
struct House {
    dir: TempDir,
    repo: Repo,
}

impl House {
    /// With a shell script as the agent.
    fn with_agent(script: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let repo = Repo::at(&dir.path().join("forge/acme/shop.git"));
        repo.commit("Start", &[("app.txt", "broken\n"), ("check.sh", CHECK), ("test.sh", "exec sh ./check.sh\n")]);
        fs::write(dir.path().join("agent.sh"), script).unwrap();
        let at = |part: &str| dir.path().join(part).display().to_string();
        let config = format!(
            "data_dir = \"{}\"\n[forge]\nkind = \"directory\"\npath = \"{}\"\n[agents.bad]\ncommand = [\"sh\", \"{}\"]\n\
             pass_env = [\"MODEL_KEY\"]\n[[project]]\nsentry = \"acme/shop\"\nrepository = \"acme/shop\"\nagent = \"bad\"\n\
             test = \"sh test.sh\"\n",
            at("data"),
            at("forge"),
            at("agent.sh"),
        );
        fs::write(dir.path().join("patchwright.toml"), config).unwrap();
        Self { dir, repo }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    fn patchwright(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_patchwright"))
            .arg("--config")
            .arg(self.path("patchwright.toml"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("MODEL_KEY", MODEL_KEY)
            .output()
            .unwrap()
    }

    /// Runs one job and gives its outcome as text and its history.
    fn outcome(&self) -> (String, String) {
        let payload = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/alert.json");
        let run = self.patchwright(&["run", payload.to_str().unwrap()]);
        let shown = self.patchwright(&["jobs", "show", "1", "--json"]);
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (shown["job"]["outcome"].to_string(), said)
    }

    fn branches(&self) -> usize {
        fs::read_dir(self.repo.path().join("refs/heads/patchwright")).map_or(0, Iterator::count)
    }
}

/// The test of the repository. Like pytest, cargo and npm, it takes settings from the folders above it.
const CHECK: &str = "\
above=$PWD
while [ \"$above\" != / ]; do
    above=$(dirname \"$above\")
    if [ -e \"$above/all-green\" ]; then exit 0; fi
done
grep -q fixed app.txt
";

#[test]
fn an_honest_agent_gets_its_pull_request_here() {
    let house = House::with_agent("echo fixed > app.txt\n");
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("opened") && house.branches() == 1, "{outcome}\n{said}");
}

#[test]
fn settings_that_an_agent_leaves_above_its_checkout_do_not_reach_the_tests() {
    let house = House::with_agent(
        "echo more > more.txt\ntouch ../all-green\nmkdir -p ../tests-after\ntouch ../tests-after/all-green\n",
    );
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("tests_failed") && house.branches() == 0, "{outcome}\n{said}");
}

#[test]
fn settings_that_an_agent_leaves_among_the_workspaces_do_not_reach_the_tests() {
    let house = House::with_agent("echo more > more.txt\ntouch ../../all-green\n");
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("tests_failed") && house.branches() == 0, "{outcome}\n{said}");
}

/// An agent that replaces an object in the mirror, both given as Python.
fn forger(old: &str, new: &str) -> String {
    format!(
        "\
echo more > more.txt
objects=$(cat .git/objects/info/alternates)
mv \"$objects\"/pack/*.pack \"$TMPDIR/pack\" && rm -f \"$objects\"/pack/*
git --git-dir=\"$objects/..\" unpack-objects < \"$TMPDIR/pack\"
python3 - <<'END'
import hashlib, os, zlib
old, new = {old}, {new}
name = hashlib.sha1(b'blob %d\\0' % len(old) + old).hexdigest()
path = os.path.join(open('.git/objects/info/alternates').read().strip(), name[:2], name[2:])
os.chmod(path, 0o644)
open(path, 'wb').write(zlib.compress(b'blob %d\\0' % len(new) + new))
END
"
    )
}

#[test]
fn a_test_that_an_agent_replaced_in_the_mirror_is_noticed() {
    let house = House::with_agent(&forger("open('check.sh', 'rb').read()", "b'exit 0\\n'"));
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("does not hold what its commit says") && house.branches() == 0, "{outcome}\n{said}");
}

#[test]
fn a_link_that_an_agent_replaced_in_the_mirror_is_noticed() {
    let house = House::with_agent(&forger("b'real.sh'", "os.path.realpath('../../../../green.sh').encode()"));
    fs::write(house.path("green.sh"), "exit 0\n").unwrap();
    house.repo.commit_entries(
        "main",
        "Link",
        &[("test.sh", 0o120_000, b"real.sh"), ("real.sh", 0o100_644, b"sh check.sh\n")],
    );
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("does not hold what its commit says") && house.branches() == 0, "{outcome}\n{said}");
}

#[test]
fn an_agent_cannot_say_where_submodules_come_from() {
    let house = House::with_agent(
        "echo fixed > app.txt\nprintf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ../y\\n' > .gitmodules\n",
    );
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("unpublishable") && outcome.contains(".gitmodules"), "{outcome}\n{said}");
    assert_eq!(house.branches(), 0);
}

#[test]
fn a_key_that_the_agent_was_given_is_not_published() {
    for script in
        ["echo \"key = $MODEL_KEY\" > settings.txt", "echo $MODEL_KEY | base64 > settings.txt", "touch $MODEL_KEY"]
    {
        let house = House::with_agent(&format!("echo fixed > app.txt\n{script}\n"));
        let (outcome, said) = house.outcome();
        assert!(outcome.contains("unpublishable") && house.branches() == 0, "{script}: {outcome}\n{said}");
        assert!(!outcome.contains(MODEL_KEY) && !said.contains(MODEL_KEY), "{script}: {outcome}\n{said}");
    }
}

#[test]
fn what_git_would_encrypt_is_not_published_as_it_is() {
    let house = House::with_agent("echo fixed > app.txt\necho token > production.key\n");
    house.repo.commit("Encrypt", &[(".gitattributes", "*.key filter=git-crypt\n")]);
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("unpublishable") && outcome.contains("git-crypt"), "{outcome}\n{said}");
    assert_eq!(house.branches(), 0);
}

#[test]
fn a_branch_that_is_in_the_way_of_ours_is_noticed_before_the_agent_works() {
    let house = House::with_agent("echo fixed > app.txt\n");
    let head = house.repo.tip("main").unwrap();
    house.repo.branch("patchwright", &head);
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("has a branch `patchwright`"), "{outcome}\n{said}");
    assert!(!said.contains("agent `bad` starts"), "{said}");
}

#[test]
fn work_that_is_ignored_is_named_where_nothing_else_was_done() {
    let house = House::with_agent("echo fixed > app.log\n");
    house.repo.commit("Ignore", &[(".gitignore", "*.log\n")]);
    let (outcome, said) = house.outcome();
    assert!(outcome.contains("nothing_changed") && outcome.contains("`app.log`"), "{outcome}\n{said}");
    assert!(said.contains("not taken"), "{said}");
}

#[test]
fn a_tree_of_any_depth_is_removed_without_following_links() {
    let elsewhere = TempDir::new().unwrap();
    fs::write(elsewhere.path().join("kept"), "").unwrap();
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("job-1-1");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("away")).unwrap();
    // In a process of its own, which may change its folder: no path is long enough for this.
    let nested = Command::new("python3")
        .args(["-c", "import os\nfor n in range(2000):\n os.mkdir('d'); os.chdir('d')\nopen('f', 'w')\nos.symlink('/', 'l')\nos.chmod('.', 0)"])
        .current_dir(&root)
        .status()
        .unwrap();
    assert!(nested.success());
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o500)).unwrap();
    // Too small for 2000 calls within calls: a stack that overflows ends the whole service.
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let removed = root.clone();
    small.spawn(move || workspace::remove_tree(&removed)).unwrap().join().unwrap().unwrap();
    assert!(!root.exists() && elsewhere.path().join("kept").exists());
}

#[test]
fn a_folder_that_is_not_ours_is_not_replaced_by_the_context() {
    let house = House::with_agent("true\n");
    let payload = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/alert.json");
    let prompt = |folder: &Path| {
        house.patchwright(&["prompt", payload.to_str().unwrap(), "--context", folder.to_str().unwrap()])
    };
    let own = house.path("forge");
    let refused = prompt(&own);
    assert!(!refused.status.success() && house.repo.path().join("HEAD").exists());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not a context folder"), "{refused:?}");
    let fresh = house.path("context");
    assert!(prompt(&fresh).status.success());
    assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o077, 0, "evidence is for its owner");
    assert!(prompt(&fresh).status.success(), "written again");
    patchwright::prompt::folder::make_removable(&fresh).unwrap();
}
