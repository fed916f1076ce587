-- Deliveries, jobs and their history.
--
-- Invariants kept by the database itself: one live job per issue; one job per issue and epoch; the same bytes of a
-- source once; a lease exactly while a job runs; an outcome exactly when it is done; one running job per slot of a
-- repository. Released migrations are never edited (a test compares their hashes): add a new file instead.
--
-- Times are UTC milliseconds since 1970-01-01, always of this database's clock.

-- "PWrt": lets the program refuse to write into the database of another program.
PRAGMA application_id = 1347908212;

CREATE VIEW clock (now) AS SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER);

CREATE TABLE jobs (
    -- AUTOINCREMENT: people and branches name jobs by number, so a number is never given twice.
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    source           TEXT    NOT NULL,
    project          TEXT    NOT NULL,
    issue            TEXT    NOT NULL,
    epoch            INTEGER NOT NULL CHECK (epoch >= 0),
    -- What the concurrency of jobs is counted against.
    repository       TEXT    NOT NULL,
    alert            TEXT    NOT NULL CHECK (json_valid(alert)),
    state            TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done')),
    -- Not an enumeration here: a new stage must not need a new table.
    stage            TEXT,
    runs             INTEGER NOT NULL DEFAULT 0 CHECK (runs >= 0),
    fence            INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    run_after        INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    -- By an alert or a person, not by a run that handed it back.
    queued_at        INTEGER NOT NULL,
    finished_at      INTEGER,
    outcome          TEXT    CHECK (outcome IS NULL OR json_valid(outcome)),
    lease_owner      TEXT,
    lease_until      INTEGER,
    -- Which of the repository's places the running job takes, from 0.
    slot             INTEGER CHECK (slot >= 0),

    UNIQUE (source, project, issue, epoch),
    CONSTRAINT lease_exactly_while_running CHECK (
        CASE state
            WHEN 'running' THEN lease_owner IS NOT NULL AND lease_until IS NOT NULL AND slot IS NOT NULL
            ELSE lease_owner IS NULL AND lease_until IS NULL AND slot IS NULL
        END
    ),
    CONSTRAINT outcome_exactly_when_done CHECK (
        CASE state
            WHEN 'done' THEN outcome IS NOT NULL AND finished_at IS NOT NULL
            ELSE outcome IS NULL AND finished_at IS NULL
        END
    )
) STRICT;

CREATE UNIQUE INDEX jobs_one_live_per_issue ON jobs (source, project, issue) WHERE state IN ('queued', 'running');
CREATE UNIQUE INDEX jobs_one_per_slot ON jobs (repository, slot) WHERE state = 'running';
CREATE INDEX jobs_due ON jobs (run_after, id, repository) WHERE state = 'queued';
CREATE INDEX jobs_expiring ON jobs (lease_until) WHERE state = 'running';

-- A fence that went back would make a late worker's writes valid again.
CREATE TRIGGER jobs_fence_only_grows BEFORE UPDATE OF fence ON jobs WHEN new.fence < old.fence
BEGIN
    SELECT RAISE(ABORT, 'the fence of a job only grows');
END;

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    resource    TEXT    NOT NULL,
    request_id  TEXT,
    -- JSON: a list of pairs of name and value.
    headers     TEXT    NOT NULL CHECK (json_valid(headers)),
    -- The raw body, compressed (zlib, RFC 1950); the hash is of the raw body.
    body        BLOB    NOT NULL,
    body_sha256 BLOB    NOT NULL CHECK (length(body_sha256) = 32),
    -- The reference of the secret (`env:NAME`), never its value.
    verified_by TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (json_valid(outcome)),
    job         INTEGER REFERENCES jobs (id),
    -- Whether it told that the issue came back: the next one that does is counted from it.
    regressed   INTEGER NOT NULL CHECK (regressed IN (0, 1)),

    UNIQUE (source, body_sha256)
) STRICT;

CREATE INDEX deliveries_of_job ON deliveries (job, id) WHERE job IS NOT NULL;
CREATE INDEX deliveries_regressed ON deliveries (job, received_at) WHERE regressed = 1;

CREATE TABLE job_events (
    job   INTEGER NOT NULL REFERENCES jobs (id),
    -- Position in the job's history, from 1 without gaps: a reader resumes after the last one that it saw.
    seq   INTEGER NOT NULL CHECK (seq >= 1),
    at    INTEGER NOT NULL,
    stage TEXT    NOT NULL,
    kind  TEXT    NOT NULL,
    text  TEXT    NOT NULL,

    PRIMARY KEY (job, seq)
) STRICT;

-- Work that a run has done and that the next run need not do again.
CREATE TABLE saved_points (
    job   INTEGER NOT NULL REFERENCES jobs (id),
    name  TEXT    NOT NULL,
    value TEXT    NOT NULL CHECK (json_valid(value)),

    PRIMARY KEY (job, name)
) STRICT;

-- Calls of the agent. Written before the agent starts, so that what was spent is known even after a crash.
CREATE TABLE attempts (
    job        INTEGER NOT NULL REFERENCES jobs (id),
    number     INTEGER NOT NULL CHECK (number >= 1),
    -- The run that made the attempt.
    fence      INTEGER NOT NULL,
    agent      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    -- How it came out, for people; NULL while it runs, and for ever if the service died with it.
    result     TEXT,

    PRIMARY KEY (job, number),
    CONSTRAINT result_exactly_when_ended CHECK ((ended_at IS NULL) = (result IS NULL))
) STRICT;

-- What we opened. Never deleted: forgetting one could open a second.
CREATE TABLE pull_requests (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job        INTEGER NOT NULL REFERENCES jobs (id),
    repository TEXT    NOT NULL,
    branch     TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number >= 0),
    url        TEXT    NOT NULL,
    draft      INTEGER NOT NULL CHECK (draft IN (0, 1)),
    opened_at  INTEGER NOT NULL,

    -- By address, since a number means nothing without its forge.
    UNIQUE (job, url)
) STRICT;

-- What tells this database from every other one. The data folder knows it again: two services that share a folder but not
-- the database would take each other's runs for left behind.
CREATE TABLE identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id       TEXT    NOT NULL
) STRICT;

INSERT INTO identity (only_row, id) VALUES (1, lower(hex(randomblob(16))));

-- One row that the readiness check writes, because only a write shows that the disk takes writes.
CREATE TABLE readiness (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    checked_at INTEGER NOT NULL
) STRICT;
