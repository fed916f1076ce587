//! Opens the database file, and brings its schema up to date.
//!
//! Invariant: nobody but the owner can read the file; a database of a newer version or another program is left as it is.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, SqlitePool};

use super::{SqliteStore, fault};
use crate::store::StoreError;

/// How long a call waits for the file's lock, or for a connection, before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most connections for reading; they are opened when needed and closed when idle.
const MOST_READERS: u32 = 4;

/// How large the write-ahead log may stay after its content was moved into the database, in bytes.
const WAL_SIZE: &str = "67108864";

/// `PRAGMA application_id` of our databases: the bytes `PWrt`, see the first migration.
const APPLICATION_ID: i64 = 0x5057_7274;

/// See [`SqliteStore::open`].
pub(super) async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let path = std::path::absolute(path).map_err(|error| unavailable("name", path, &error))?;
    create(&path)?;

    let options = SqliteConnectOptions::new()
        .filename(&path)
        // An accepted delivery has to survive a power cut: FULL also syncs the log at each commit.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true)
        .pragma("journal_size_limit", WAL_SIZE)
        .pragma("trusted_schema", "OFF");
    let pool = SqlitePoolOptions::new().acquire_timeout(PATIENCE).max_lifetime(None).test_before_acquire(false);
    let writer = pool.clone().max_connections(1).idle_timeout(None).connect_with(options.clone()).await?;
    let readers = pool
        .max_connections(MOST_READERS)
        .idle_timeout(Duration::from_secs(60))
        .connect_lazy_with(options.pragma("query_only", "ON"));

    refuse_foreign(&writer, &path).await?;
    make_private(&path)?;
    use_write_ahead_log(&writer, &path).await?;
    migrate(&writer, &path).await?;
    Ok(SqliteStore { writer, readers })
}

/// Creates the file and its folders where they are not there.
///
/// The file gets its name only when it is closed: SQLite's locks are those of POSIX, which a process loses as soon as it
/// closes the file anywhere, so a file that may be in use is never opened here.
fn create(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| unavailable("create the folder of", path, &error))?;
    if !path.exists() {
        let empty = tempfile::Builder::new()
            .prefix(".patchwright-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(|error| unavailable("create", path, &error))?
            .into_temp_path();
        match empty.persist_noclobber(path) {
            Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unavailable("create", path, &refused.error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes the files of a database that was there already from everybody else. In a new one it finds nothing to do: SQLite
/// gives `-wal` and `-shm` the mode of the database.
fn make_private(path: &Path) -> Result<(), StoreError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match take_from_others(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unavailable("make private", &file, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn take_from_others(file: &Path) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(file, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Makes it a WAL database, which it then stays. That takes a lock for which SQLite does not wait: of several programs that
/// start at the same moment one gets it, and the others find the work done when they try again.
async fn use_write_ahead_log(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let deadline = Instant::now() + PATIENCE;
    let mode: String = loop {
        match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(writer).await {
            Err(error) if fault::is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => break result?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    let place = path.display();
    Err(StoreError::Unavailable(
        format!("{place} cannot have a write-ahead log: is it on a network volume? Put it on a disk of this machine")
            .into(),
    ))
}

/// Brings the schema up to date in one transaction, so that two programs may start at the same time.
async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    // `run` would do the same, but its future is not `Send` for a borrowed connection.
    Migrator::with_migrations(migrations())
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| not_migrated(error, path))?;
    transaction.commit().await?;
    Ok(())
}

/// All migrations, oldest first. Their SQL is part of the program; a released one is never edited.
fn migrations() -> Vec<Migration> {
    vec![Migration::new(
        1,
        "init".into(),
        MigrationType::Simple,
        include_str!("../../../migrations/sqlite/0001_init.sql").into_sql_str(),
        false,
    )]
}

async fn refuse_foreign(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let (application, tables): (i64, i64) =
        sqlx::query_as("SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id")
            .fetch_one(writer)
            .await?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Corrupt(format!(
            "{} is the database of another program; give Patchwright a file of its own",
            path.display()
        )));
    }
    Ok(())
}

fn not_migrated(error: MigrateError, path: &Path) -> StoreError {
    let path = path.display();
    match error {
        MigrateError::VersionMissing(version) => StoreError::Corrupt(format!(
            "{path} was written by a newer Patchwright (it has schema {version}, this one knows {} at most); \
             start that version, or restore the backup from before the update",
            migrations().iter().map(|migration| migration.version).max().unwrap_or_default()
        )),
        MigrateError::VersionMismatch(version) => StoreError::Corrupt(format!(
            "schema {version} of {path} is not the released one: it was written by a development version; \
             use that version, or a new file"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Unavailable(Box::new(other)),
    }
}

fn unavailable(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(
        format!("cannot {what} {}: {error}; check the folder's owner and free space", path.display()).into(),
    )
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
