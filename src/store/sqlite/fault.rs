//! What SQLite's errors mean to a caller of the store.
//!
//! Invariant: the text says what to do next and holds no value that was bound to a statement.

use crate::store::StoreError;

/// An error of the database with advice for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {advice}")]
struct Advised {
    error: sqlx::Error,
    advice: &'static str,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::TypeNotFound { .. } => Self::Corrupt(error.to_string()),
            sqlx::Error::PoolTimedOut => advised(
                error,
                "every connection is busy; another program that holds the file, a slow disk, or a very long history \
                 that is being read can do that",
            ),
            sqlx::Error::Database(database) => match primary_code(database.code().as_deref()) {
                Some(CORRUPT | NOT_A_DATABASE) => {
                    Self::Corrupt(format!("{error}; stop Patchwright and put a backup in the place of the file"))
                }
                Some(BUSY | LOCKED) => advised(error, "another program holds the file: end it, or wait for it"),
                Some(FULL) => advised(error, "the disk is full: make room on the volume of the database"),
                Some(READ_ONLY | PERMISSION | AUTHORIZATION) => {
                    advised(error, "make the file and its folder writable for the user that runs Patchwright")
                }
                Some(CANNOT_OPEN) => {
                    advised(error, "check that the folder of the file is there and belongs to the right user")
                }
                Some(IO_ERROR) => advised(error, "the disk does not do its work: look at the kernel's log"),
                _ => Self::Unavailable(Box::new(error)),
            },
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

/// Whether somebody else held the file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| primary_code(database.code().as_deref()) == Some(BUSY))
}

// Primary result codes, https://www.sqlite.org/rescode.html
const PERMISSION: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READ_ONLY: u32 = 8;
const IO_ERROR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANNOT_OPEN: u32 = 14;
const AUTHORIZATION: u32 = 23;
const NOT_A_DATABASE: u32 = 26;

/// The primary result code: the low byte of the extended one that sqlx gives as text.
fn primary_code(extended: Option<&str>) -> Option<u32> {
    extended?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn advised(error: sqlx::Error, advice: &'static str) -> StoreError {
    StoreError::Unavailable(Box::new(Advised { error, advice }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_code_counts_as_its_primary_code() {
        assert_eq!(primary_code(Some("517")), Some(BUSY)); // SQLITE_BUSY_SNAPSHOT
        assert_eq!(primary_code(Some("3338")), Some(IO_ERROR)); // SQLITE_IOERR_LOCK
        assert_eq!(primary_code(Some("no number")), None);
        assert_eq!(primary_code(None), None);
    }

    #[test]
    fn a_wait_for_a_connection_is_no_damage() {
        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(error, StoreError::Unavailable(_)));
        // Who waits behind the call that waits for the file's lock hears of this, not of the lock.
        assert!(error.to_string().contains("another program"), "{error}");
    }

    #[test]
    fn a_chain_of_causes_says_everything_once() {
        let chain = format!("{:#}", anyhow::Error::from(StoreError::from(sqlx::Error::PoolTimedOut)));
        assert_eq!(chain.matches("every connection is busy").count(), 1, "{chain}");
    }
}
