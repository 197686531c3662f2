-- What the source of a run was like, and runs that were taken over from another state directory.
-- Cost on a large database: none; three empty tables.

-- What is known of a run's source. A run that an older version began has no row until it is first
-- looked at. Writer: the engine when the run begins or somebody accepts a change; then the run's actor.
CREATE TABLE sources (
    run         INTEGER PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL,              -- JSON with a format of its own
    accepted    INTEGER NOT NULL DEFAULT 0 CHECK (accepted IN (0, 1)), -- somebody said to go on with another one
    at_us       INTEGER NOT NULL            -- when it was found so
) STRICT;

-- Runs that are being, or were, taken over from another state directory. While `done_us` is NULL, rows
-- with this run's number are a copy that nobody reads yet. Writer: whoever adopts.
CREATE TABLE adoptions (
    run        INTEGER PRIMARY KEY NOT NULL, -- its number here
    job        TEXT NOT NULL,
    directory  TEXT NOT NULL,               -- where it came from, absolute
    run_there  INTEGER NOT NULL,            -- its number there
    author     TEXT NOT NULL,
    begun_us   INTEGER NOT NULL,
    done_us    INTEGER
) STRICT;
-- Query: the adoption of a job that was begun and not done.
CREATE INDEX adoptions_begun ON adoptions (job) WHERE done_us IS NULL;

-- Jobs whose run went to another state directory; they do not go on here. Writer: whoever adopts, when
-- everything is copied; whoever adopts such a run back removes the row.
CREATE TABLE departures (
    job       TEXT PRIMARY KEY NOT NULL,
    directory TEXT NOT NULL,                -- where it went, absolute
    author    TEXT NOT NULL,
    at_us     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
