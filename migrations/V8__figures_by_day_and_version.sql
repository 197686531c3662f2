-- What a run counted, by day and by plugin version, and how long it was paused. The checkpoint has the
-- sums; "when" and "by which version" were nowhere once the events had been pruned.
--
-- Cost on a large database: two small tables, two added columns, and one pass over `runs` (a row for each
-- start of a job), none over results. What runs had counted before stands under the day '' and the
-- version -1, so that sums balance with the checkpoint from the first commit on.

-- Counts of one day. Writer: the run's actor, in the commit that counts them in the checkpoint; whoever
-- steps a run that rests.
CREATE TABLE run_days (
    run         INTEGER NOT NULL,
    day         TEXT NOT NULL,              -- YYYY-MM-DD in the limiter's time zone; '': before days were kept
    first_tries INTEGER NOT NULL,           -- calls of children that had not failed before
    retries     INTEGER NOT NULL,           -- calls of those that had
    done        INTEGER NOT NULL,           -- items that ended with a result
    failed      INTEGER NOT NULL,           -- items that ended with an error
    redone      INTEGER NOT NULL,           -- done items that were put back; done - redone is the net
    put_back    INTEGER NOT NULL,           -- failed items that were put back; failed - put_back is the net
    interrupted INTEGER NOT NULL,           -- calls whose outcome was lost
    throttled   INTEGER NOT NULL,           -- calls answered with "too many": put off, no attempt
    closed_us   INTEGER NOT NULL,           -- for how long such answers closed the limiter
    -- Query: the days of a run, in order.
    PRIMARY KEY (run, day)
) STRICT, WITHOUT ROWID;

-- Counts of one version of the plugin. Writer: as above.
CREATE TABLE run_versions (
    run          INTEGER NOT NULL,
    version      INTEGER NOT NULL,          -- 0: no handler answered; -1: before versions were kept
    calls        INTEGER NOT NULL,          -- calls that were answered, in whatever way
    done         INTEGER NOT NULL,          -- items that ended with a result
    failed_tries INTEGER NOT NULL,          -- calls that failed
    failed       INTEGER NOT NULL,          -- items that ended with an error
    throttled    INTEGER NOT NULL,
    interrupted  INTEGER NOT NULL,
    first_us     INTEGER NOT NULL,          -- the first and the last time that it counted something
    last_us      INTEGER NOT NULL,
    -- Query: the versions of a run, in order.
    PRIMARY KEY (run, version)
) STRICT, WITHOUT ROWID;

-- Writer: whoever writes the checkpoint.
ALTER TABLE runs ADD COLUMN paused_us INTEGER NOT NULL DEFAULT 0;  -- in all, without the pause of now
ALTER TABLE runs ADD COLUMN paused_since_us INTEGER;               -- NULL: it is not paused

UPDATE runs SET paused_since_us = changed_us WHERE status = 'paused';

INSERT INTO run_days
    SELECT id, '', coalesce(checkpoint ->> '$.counters.first_tries', 0),
           coalesce(checkpoint ->> '$.counters.retries', 0), done, failed, 0, 0,
           coalesce(checkpoint ->> '$.counters.interrupted', 0),
           coalesce(checkpoint ->> '$.counters.throttled', 0), 0
    FROM runs WHERE high_mark > 0;
INSERT INTO run_versions
    SELECT id, -1, coalesce(checkpoint ->> '$.counters.first_tries', 0)
               + coalesce(checkpoint ->> '$.counters.retries', 0),
           done, 0, failed, coalesce(checkpoint ->> '$.counters.throttled', 0),
           coalesce(checkpoint ->> '$.counters.interrupted', 0), started_us, changed_us
    FROM runs WHERE high_mark > 0;
