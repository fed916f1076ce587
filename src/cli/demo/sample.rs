//! Makes the demo's repository: a small shop whose bug came in with an ordinary commit.
//!
//! Invariant: the same history every time, so that what the demo shows can be compared.

use std::path::Path;

use anyhow::Context as _;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, RepositoryInitOptions, Signature, Time};

/// The repository's history, for people.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) commits: Vec<Commit>,
}

/// A commit that was made.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) subject: &'static str,
}

struct Step {
    author: &'static str,
    subject: &'static str,
    /// Days before 2026-11-20.
    days_ago: i64,
    files: &'static [(&'static str, &'static str)],
}

const ANA: &str = "Ana Duarte";
const TOM: &str = "Tom Okafor";

const HISTORY: [Step; 6] = [
    Step {
        author: ANA,
        subject: "Start the shop with a cart",
        days_ago: 160,
        files: &[
            (".gitignore", include_str!("../../../demo/history/gitignore")),
            ("README.md", include_str!("../../../demo/history/README.md")),
            ("shop/__init__.py", ""),
            ("shop/cart.py", include_str!("../../../demo/history/cart.py")),
        ],
    },
    Step {
        author: TOM,
        subject: "Place orders",
        days_ago: 148,
        files: &[
            ("shop/checkout.py", include_str!("../../../demo/history/checkout_1.py")),
            ("tests/__init__.py", ""),
            ("tests/test_checkout.py", include_str!("../../../demo/history/test_checkout.py")),
        ],
    },
    Step {
        author: ANA,
        subject: "Share a discount between the items",
        days_ago: 96,
        files: &[
            ("shop/checkout.py", include_str!("../../../demo/history/checkout_2.py")),
            ("shop/discounts.py", include_str!("../../../demo/history/discounts_1.py")),
            ("tests/test_discounts.py", include_str!("../../../demo/history/test_discounts_1.py")),
        ],
    },
    Step {
        author: TOM,
        subject: "Show prices on the receipt",
        days_ago: 61,
        files: &[("shop/receipt.py", include_str!("../../../demo/history/receipt.py"))],
    },
    Step {
        author: TOM,
        subject: "Count only items in stock when sharing a discount",
        days_ago: 3,
        files: &[
            ("shop/discounts.py", include_str!("../../../demo/history/discounts_2.py")),
            ("tests/test_discounts.py", include_str!("../../../demo/history/test_discounts_2.py")),
        ],
    },
    Step {
        author: ANA,
        subject: "Say how the tests are run",
        days_ago: 1,
        files: &[("CONTRIBUTING.md", "Run the tests before you push: `python3 -m unittest discover -s tests -t .`\n")],
    },
];

/// 2026-11-20T08:00:00Z
const LAST_DAY: i64 = 1_795_161_600;

/// Makes the bare repository.
pub(super) fn make(path: &Path) -> anyhow::Result<Sample> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).initial_head("main").external_template(false);
    let repository =
        Repository::init_opts(path, &options).with_context(|| format!("cannot make {}", path.display()))?;
    let (mut commits, mut tree, mut parent) = (Vec::new(), None, None);
    for step in &HISTORY {
        let base = match tree {
            Some(id) => repository.find_tree(id)?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        let mut update = TreeUpdateBuilder::new();
        for (path, text) in step.files {
            update.upsert(*path, repository.blob(text.as_bytes())?, FileMode::Blob);
        }
        let new = update.create_updated(&repository, &base)?;
        let email = format!("{}@shop.example", step.author.split(' ').next().unwrap_or_default().to_lowercase());
        let at = Time::new(LAST_DAY - step.days_ago * 86_400, 0);
        let author = Signature::new(step.author, &email, &at)?;
        let parents: Vec<git2::Commit<'_>> =
            parent.map(|id| repository.find_commit(id)).transpose()?.into_iter().collect();
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let message = format!("{}\n", step.subject);
        let id = repository.commit(
            Some("refs/heads/main"),
            &author,
            &author,
            &message,
            &repository.find_tree(new)?,
            &parents,
        )?;
        commits.push(Commit { id: id.to_string(), subject: step.subject });
        (tree, parent) = (Some(new), Some(id));
    }
    Ok(Sample { commits })
}
