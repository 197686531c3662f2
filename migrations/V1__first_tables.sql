-- The first tables of iterd's own file. Written by the one writer thread of the daemon that owns the
-- state directory; everybody may read. Instants are microseconds since 1970 in UTC, in columns that
-- end in _us; JSON is text. What is a format of its own carries a number "v" inside. There are no
-- foreign keys: the hot tables would look their run up again for each row.

-- Facts about the file itself. Writer: the store, when it opens the file.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Jobs that were seen, by name. Writer: the registrar of jobs, when a file is read or a job started.
CREATE TABLE jobs (
    name          TEXT PRIMARY KEY NOT NULL,
    path          TEXT NOT NULL,            -- the job file, absolute
    text          TEXT NOT NULL,            -- its content when it was last taken over
    started       INTEGER NOT NULL DEFAULT 0 CHECK (started IN (0, 1)), -- resumes at boot
    overrides     TEXT NOT NULL DEFAULT '{}', -- changes by command, with author and time
    registered_us INTEGER NOT NULL,
    scheduled_us  INTEGER                   -- the last fire time that was acted on
) STRICT, WITHOUT ROWID;

-- Executions of state machines; a started job is one. Writer: the engine.
CREATE TABLE executions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    machine     TEXT NOT NULL,              -- the machine's name; of a job: the job's
    name        TEXT NOT NULL,
    definition  TEXT NOT NULL,              -- the text that it runs
    status      TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'timed_out', 'aborted')),
    input       TEXT NOT NULL,
    output      TEXT,
    error       TEXT,
    cause       TEXT,
    started_us  INTEGER NOT NULL,
    stopped_us  INTEGER,
    CHECK ((status = 'running') = (stopped_us IS NULL))
) STRICT;
-- Query: an execution by its machine and name; the newest execution of a job.
CREATE UNIQUE INDEX executions_by_name ON executions (machine, name);
-- Query: what to resume at boot.
CREATE INDEX executions_running ON executions (id) WHERE status = 'running';
-- Query: what ended long ago, for the pruner.
CREATE INDEX executions_stopped ON executions (stopped_us) WHERE stopped_us IS NOT NULL;

-- The live frames of running executions. Writer: the engine, in the commit of each step.
CREATE TABLE frames (
    execution INTEGER NOT NULL,
    frame     INTEGER NOT NULL,
    part      TEXT NOT NULL CHECK (part IN ('head', 'frame', 'items', 'result')),
    idx       INTEGER NOT NULL,             -- the iteration of a result, else 0
    body      TEXT NOT NULL,                -- the interpreter's own format, versioned
    PRIMARY KEY (execution, frame, part, idx)
) STRICT, WITHOUT ROWID;

-- Map Runs. Writer: the run's actor, in the commit of each of its steps.
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    execution  INTEGER NOT NULL,
    frame      INTEGER NOT NULL,            -- the frame that waits for it
    job        TEXT NOT NULL,               -- the job's name
    status     TEXT NOT NULL CHECK (status IN ('running', 'paused', 'succeeded', 'failed', 'aborted')),
    plan       TEXT NOT NULL,               -- source, options, output: what it was started with
    watermark  INTEGER NOT NULL CHECK (watermark >= 0),
    high_mark  INTEGER NOT NULL CHECK (high_mark >= watermark),
    total      INTEGER,
    done       INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,               -- cursor, done set, counters, breaker; versioned
    started_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    ended_us   INTEGER
) STRICT;
-- Query: the newest run of a job; all of them in order.
CREATE INDEX runs_by_job ON runs (job, id);
-- Query: the run of an execution.
CREATE INDEX runs_by_execution ON runs (execution);

-- Children of which something must survive. Writer: the run's actor.
CREATE TABLE children (
    run      INTEGER NOT NULL,
    idx      INTEGER NOT NULL,              -- the child's first item
    items    INTEGER NOT NULL CHECK (items > 0),
    status   TEXT NOT NULL CHECK (status IN ('in_flight', 'retrying', 'waiting', 'held', 'queued')),
    due_us   INTEGER NOT NULL,
    id       TEXT,                          -- the record's own identity, where the job names one
    attempts INTEGER NOT NULL,              -- tries that ended
    payload  TEXT NOT NULL,
    state    TEXT,                          -- the child's frame; NULL before its first step
    error    TEXT,                          -- of the last try that failed
    cause    TEXT,
    version  INTEGER,                       -- of the plugin, at the last try
    changed_us INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;
-- Query: children by status in order of their index (the queue, what is in doubt); how many items
-- those are, without a look at their records.
CREATE INDEX children_by_status ON children (run, status, idx, items);
-- Query: a child by its record's identity.
CREATE INDEX children_by_id ON children (run, id) WHERE id IS NOT NULL;

-- One current result for each finished item. Writer: the run's actor, in the commit of the outcome.
CREATE TABLE result_rows (
    run      INTEGER NOT NULL,
    idx      INTEGER NOT NULL,
    id       TEXT,
    result   TEXT NOT NULL,
    version  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;
-- Query: a result by its record's identity.
CREATE INDEX result_rows_by_id ON result_rows (run, id) WHERE id IS NOT NULL;

-- Items that failed for good. Writer: the run's actor, in the commit of the outcome.
CREATE TABLE failure_rows (
    run      INTEGER NOT NULL,
    idx      INTEGER NOT NULL,
    id       TEXT,
    error    TEXT NOT NULL,
    cause    TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    version  INTEGER NOT NULL,              -- 0: no handler was called
    payload  TEXT,                          -- the record as it was read; NULL: it could not be
    items    INTEGER NOT NULL CHECK (items > 0),
    at_us    INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;
-- Query: failures counted by error, without a look at their records; those of one error in order.
CREATE INDEX failure_rows_by_error ON failure_rows (run, error, idx, items);
-- Query: a failure by its record's identity.
CREATE INDEX failure_rows_by_id ON failure_rows (run, id) WHERE id IS NOT NULL;

-- Results that came after the exporter had passed their place. Writer: the run's actor; the exporter
-- deletes what it has written.
CREATE TABLE late_results (
    run INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;

-- How far output files are written; a row for each run that owes one. Writer: the engine when the
-- run begins (which takes the file over from earlier runs of the job), then the exporter, after it has
-- synced the file.
CREATE TABLE exports (
    run         INTEGER PRIMARY KEY NOT NULL,
    next_idx    INTEGER NOT NULL,           -- everything below is in the file or in late_results
    bytes       INTEGER NOT NULL            -- length of the file so far; what is beyond is torn
) STRICT;

-- Limiters' spent permits. Writer: whoever commits a permit; a smaller sequence number never wins.
CREATE TABLE limiters (
    name     TEXT PRIMARY KEY NOT NULL,
    sequence INTEGER NOT NULL,
    state    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Versions of plugins, numbered by content. Writer: the deployer.
CREATE TABLE plugin_versions (
    plugin     TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    hash       TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (plugin, version)
) STRICT, WITHOUT ROWID;
-- Query: whether this content has a number.
CREATE UNIQUE INDEX plugin_versions_by_hash ON plugin_versions (plugin, hash);

-- Processes that a successor has to kill before it dispatches. Writer: the worker log.
CREATE TABLE workers (
    pid        INTEGER NOT NULL,
    start_time INTEGER NOT NULL,            -- clock ticks since boot, as the kernel tells it
    session    INTEGER NOT NULL,            -- the daemon's session, which the worker's group stays in
    boot       TEXT NOT NULL,
    PRIMARY KEY (pid, start_time, boot)
) STRICT, WITHOUT ROWID;

-- What happened to jobs, for people: starts, pauses with reason and author, deploys, restarts.
-- Writer: everybody who does such a thing; the pruner bounds it.
CREATE TABLE events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us  INTEGER NOT NULL,
    job    TEXT NOT NULL,                   -- empty: the daemon itself
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
-- Query: the last events of a job.
CREATE INDEX events_by_job ON events (job, id);

-- Stable views for people's own SQL.
CREATE VIEW results AS
    SELECT runs.job, runs.id AS run, r.idx AS "index", r.id, r.result, r.version, r.attempts,
           r.at_us / 1000000 AS at
    FROM result_rows AS r JOIN runs ON runs.id = r.run;
CREATE VIEW failures AS
    SELECT runs.job, runs.id AS run, f.idx AS "index", f.id, f.error, f.cause, f.attempts,
           f.version, f.payload, f.at_us / 1000000 AS at
    FROM failure_rows AS f JOIN runs ON runs.id = f.run;
CREATE VIEW items AS
    SELECT runs.job, runs.id AS run, c.idx AS "index", c.id, c.status, c.attempts, c.error,
           c.cause, c.due_us / 1000000 AS due
    FROM children AS c JOIN runs ON runs.id = c.run
    UNION ALL
    SELECT runs.job, runs.id, r.idx, r.id, 'done', r.attempts, NULL, NULL, NULL
    FROM result_rows AS r JOIN runs ON runs.id = r.run
    UNION ALL
    SELECT runs.job, runs.id, f.idx, f.id, 'failed', f.attempts, f.error, f.cause, NULL
    FROM failure_rows AS f JOIN runs ON runs.id = f.run;
