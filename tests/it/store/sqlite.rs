//! What only the SQLite store promises: about its file, its schema and what it says when it cannot go on.
//!
//! Invariant: only here do the tests of the store know SQL.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use patchwright::alert::Reason;
use patchwright::job::EventKind;
use patchwright::store::sqlite::SqliteStore;
use patchwright::store::{JobFilter, Store, StoreError};
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tokio::task::JoinSet;

use super::given::*;

/// The released migrations and the SHA-256 of their bytes. Add a line for a new file; never change one.
const RELEASED: [(&str, &[u8]); 1] = [(
    "29f3120fdece2c4bfb89b4614f8918ee197a1a77adc03174c2f49ea1b5f40c9d",
    include_bytes!("../../../migrations/sqlite/0001_init.sql"),
)];

#[test]
fn no_released_migration_was_edited() {
    for (hash, migration) in RELEASED {
        assert_eq!(hex::encode(Sha256::digest(migration)), hash, "add a migration instead of editing one");
        assert!(!migration.contains(&b'\r'), "a migration is identified by its bytes: line ends are LF everywhere");
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_database_and_its_companions() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("var/lib");
    let path = folder.join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    queued(&store, "1").await;
    assert_eq!(mode(&folder), 0o700);
    for file in ["patchwright.db", "patchwright.db-wal", "patchwright.db-shm"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_database_that_others_could_read_is_made_private() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    SqliteStore::open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_that_holds_everything() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let job = queued(&store, "1").await;
    store.job(job).await.unwrap();
    store.close().await;
    let copy = home.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(SqliteStore::open(&copy).await.unwrap().job(job).await.unwrap().id, job);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 4, "the copy is open, the original has no companions");
}

#[tokio::test]
async fn programs_that_start_at_the_same_moment_share_a_new_database() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = home.path().join(format!("{round}.db"));
        let mut starts = JoinSet::new();
        for _ in 0..4 {
            let path = path.clone();
            starts.spawn(async move { SqliteStore::open(&path).await.map(drop) });
        }
        for start in starts.join_all().await {
            start.unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut raw = raw(&path).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("newer Patchwright")), "{error}");
}

#[tokio::test]
async fn a_schema_that_was_never_released_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut raw = raw(&path).await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = X'00'").execute(&mut raw).await.unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("development version")), "{error}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("theirs.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let mut theirs = raw(&path).await;
    sqlx::query("CREATE TABLE precious (id INTEGER)").execute(&mut theirs).await.unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("another program")), "{error}");
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema").fetch_all(&mut theirs).await.unwrap();
    assert_eq!(tables, ["precious"]);
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut theirs).await.unwrap();
    assert_eq!((journal.as_str(), mode(&path)), ("delete", 0o640));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, and no database at all\n".repeat(50)).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_created_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("a file");
    std::fs::write(&file, b"").unwrap();
    let error = SqliteStore::open(&file.join("patchwright.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().contains("a file/patchwright.db"), "{error}");
}

#[tokio::test]
async fn the_database_itself_refuses_a_second_live_job_for_an_issue() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    queued(&store, "1").await;
    let second = sqlx::query(
        "INSERT INTO jobs (source, project, issue, epoch, repository, alert, run_after, created_at, queued_at)
         SELECT source, project, issue, epoch + 1, repository, alert, run_after, created_at, queued_at FROM jobs",
    );
    let error = second.execute(&mut raw(&path).await).await.unwrap_err();
    assert!(error.to_string().contains("UNIQUE"), "{error}");
}

#[tokio::test]
async fn the_database_itself_refuses_a_second_job_in_a_slot_and_a_smaller_fence() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    running(&store, "1").await;
    running(&store, "2").await;
    let mut raw = raw(&path).await;
    let slot = sqlx::query("UPDATE jobs SET slot = 0").execute(&mut raw).await.unwrap_err();
    assert!(slot.to_string().contains("UNIQUE"), "{slot}");
    let fence = sqlx::query("UPDATE jobs SET fence = 0").execute(&mut raw).await.unwrap_err();
    assert!(fence.to_string().contains("only grows"), "{fence}");
    let lease = sqlx::query("UPDATE jobs SET state = 'queued'").execute(&mut raw).await.unwrap_err();
    assert!(lease.to_string().contains("lease_exactly_while_running"), "{lease}");
}

#[tokio::test]
async fn an_error_never_shows_what_was_to_be_stored_or_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let (job, lease) = running(&store, "1").await;
    store.save(&lease, "patch", &clean_json(serde_json::json!("hunter2"))).await.unwrap();
    let mut raw = raw(&path).await;
    sqlx::query("UPDATE jobs SET alert = '{\"source\": \"hunter2\"}', stage = 'hunter2'")
        .execute(&mut raw)
        .await
        .unwrap();
    let unreadable = store.job(job).await.unwrap_err();
    assert!(matches!(unreadable, StoreError::Corrupt(_)));
    assert!(unreadable.to_string().contains("`alert` of the row with id 1"), "{unreadable}");
    sqlx::query("DROP TABLE deliveries").execute(&mut raw).await.unwrap();
    let mut secret = alert("hunter2", Reason::New);
    secret.title = "hunter2".into();
    let unwritten = store.accept(delivery_of(b"hunter2"), work(secret)).await.unwrap_err();
    for error in [unreadable, unwritten] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_read_ends_and_does_not_stop_the_queue() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let unreadable = queued(&store, "1").await;
    let next = queued(&store, "2").await;
    let broken = "UPDATE jobs SET alert = '{\"source\": \"hunter2\"}' WHERE id = 1";
    sqlx::query(broken).execute(&mut raw(&path).await).await.unwrap();
    assert_eq!(take(&store).await.0.id, next);
    assert_eq!(store.events(unreadable, 0, 10).await.unwrap().last().unwrap().kind, EventKind::Outcome);
    let outcome: String = sqlx::query_scalar("SELECT outcome FROM jobs WHERE id = 1 AND state = 'done'")
        .fetch_one(&mut raw(&path).await)
        .await
        .unwrap();
    assert!(outcome.contains("failed") && outcome.contains("this version cannot read job 1"), "{outcome}");
    assert!(!outcome.contains("hunter2"), "{outcome}");
    let listed = store.jobs(JobFilter { state: None, limit: 10 }).await.unwrap();
    assert!(matches!(listed.as_slice(), [Ok(job), Err(StoreError::Corrupt(_))] if job.id == next), "{listed:?}");
    assert!(store.claim_job(unreadable, &claim()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stage_of_another_version_does_not_stop_a_job() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("patchwright.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let job = queued(&store, "1").await;
    store.claim(&claim_and_die()).await.unwrap().unwrap();
    sqlx::query("UPDATE jobs SET stage = 'repair'").execute(&mut raw(&path).await).await.unwrap();
    let (again, lease) = take(&store).await;
    assert_eq!((again.id, again.runs, again.stage), (job, 2, None));
    store.finish(&lease, &clean(&opened())).await.unwrap();
}

#[tokio::test]
async fn a_database_is_told_from_every_other_one_also_as_a_copy() {
    let home = tempfile::tempdir().unwrap();
    let (path, copy) = (home.path().join("patchwright.db"), home.path().join("copy.db"));
    let store = SqliteStore::open(&path).await.unwrap();
    let identity = store.identity().await.unwrap();
    store.close().await;
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(SqliteStore::open(&copy).await.unwrap().identity().await.unwrap(), identity);
    let other = SqliteStore::open(&home.path().join("other.db")).await.unwrap();
    assert_ne!(other.identity().await.unwrap(), identity);
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing_and_the_next_one_works() {
    // As a rule SQLite leaves it to us to roll back; on a full or failing disk it has done so by itself.
    for failure in ["ABORT", "ROLLBACK"] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("patchwright.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let mut raw = raw(&path).await;
        let full =
            format!("CREATE TRIGGER full BEFORE INSERT ON deliveries BEGIN SELECT RAISE({failure}, 'no room'); END");
        sqlx::query(AssertSqlSafe(full)).execute(&mut raw).await.unwrap();
        for _ in 0..3 {
            let error = store.accept(delivery(), work(alert("1", Reason::New))).await.unwrap_err();
            assert!(error.to_string().contains("no room"), "{failure}: {error}");
        }
        sqlx::query("DROP TRIGGER full").execute(&mut raw).await.unwrap();
        assert!(store.claim(&claim()).await.unwrap().is_none(), "{failure}: the job went with its delivery");
        queued(&store, "1").await;
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A connection as another program would have it.
async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}
