-- Executions of state machines beside those of jobs: what they run, what happened in them, and what
-- they wait for.

-- Executions; a started job is one. Writer: the engine for jobs, the conductor for all others.
CREATE TABLE executions_of_now (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT NOT NULL CHECK (kind IN ('job', 'standard', 'express')),
    machine       TEXT NOT NULL,            -- the machine's name; of a job: the job's
    name          TEXT NOT NULL,
    text          TEXT,                     -- the definition of a job
    definition    INTEGER,                  -- the definition of all others, by its number
    version       INTEGER,                  -- of the machine, where one was asked for
    alias         TEXT,                     -- of the machine, where one was asked for
    role_arn      TEXT,
    trace_header  TEXT,
    run           INTEGER,                  -- the Map Run that it is a child of
    item          INTEGER,                  -- the child's first item in that run
    awake         INTEGER NOT NULL DEFAULT 0 CHECK (awake IN (0, 1)), -- something of it is under way here
    status        TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'timed_out', 'aborted')),
    input         TEXT NOT NULL,
    output        TEXT,
    error         TEXT,
    cause         TEXT,
    redrives      INTEGER NOT NULL DEFAULT 0 CHECK (redrives >= 0),
    started_us    INTEGER NOT NULL,
    stopped_us    INTEGER,
    redriven_us   INTEGER,
    CHECK ((status = 'running') = (stopped_us IS NULL)),
    CHECK ((kind = 'job') = (text IS NOT NULL)),
    CHECK ((text IS NULL) <> (definition IS NULL))
) STRICT;
INSERT INTO executions_of_now
    (id, kind, machine, name, text, status, input, output, error, cause, started_us, stopped_us)
    SELECT id, 'job', machine, name, definition, status, input, output, error, cause, started_us, stopped_us
    FROM executions;
DROP TABLE executions;
ALTER TABLE executions_of_now RENAME TO executions;
-- Query: an execution by its machine and name. Express executions may share a name, and children are
-- found by their run.
CREATE UNIQUE INDEX executions_by_name ON executions (kind, machine, name) WHERE kind <> 'express' AND run IS NULL;
-- Query: the newest execution of a job; a page of a machine's executions, the newest first.
CREATE INDEX executions_by_machine ON executions (machine, kind, id) WHERE run IS NULL;
-- Query: the same of one status.
CREATE INDEX executions_by_status ON executions (machine, kind, status, id) WHERE run IS NULL;
-- Query: the children of a Map Run, the newest first; of one status; by its item.
CREATE INDEX executions_by_run ON executions (run, status, id) WHERE run IS NOT NULL;
CREATE INDEX executions_by_child ON executions (machine, name) WHERE run IS NOT NULL;
CREATE INDEX executions_by_item ON executions (run, item) WHERE run IS NOT NULL;
-- Query: what to resume at boot.
CREATE INDEX executions_running ON executions (kind, id) WHERE status = 'running';
-- Query: what to take up at boot; all others wait for a row.
CREATE INDEX executions_awake ON executions (id) WHERE awake = 1;
-- Query: what ended long ago, for the pruner.
CREATE INDEX executions_stopped ON executions (stopped_us) WHERE stopped_us IS NOT NULL;

-- What happened in an execution, in its order: the events of one commit are one row. What is rolled
-- up is gone from here, and counted by the gap between two rows. Writer: the conductor.
CREATE TABLE history (
    execution INTEGER NOT NULL,
    first     INTEGER NOT NULL,             -- the id of the row's first event
    events    INTEGER NOT NULL CHECK (events > 0),
    bytes     INTEGER NOT NULL,             -- of the body and of the payloads that came with it
    head_end  INTEGER NOT NULL,             -- what is kept from the beginning ends before this event
    tail      INTEGER NOT NULL,             -- what is kept behind it begins with this one
    kept      INTEGER NOT NULL,             -- bytes of all that is kept, this row included
    body      TEXT NOT NULL,                -- versioned
    PRIMARY KEY (execution, first)
) STRICT, WITHOUT ROWID;

-- Large payloads of events, each once. Writer: the conductor, with the row of the event that came first.
CREATE TABLE history_payloads (
    execution INTEGER NOT NULL,
    id        INTEGER NOT NULL,             -- the event that came with it
    text      TEXT NOT NULL,
    PRIMARY KEY (execution, id)
) STRICT;

-- Instants that executions wait for. Writer: the conductor, in the commit that asks for the instant
-- and in the one that has it behind.
CREATE TABLE timers (
    execution  INTEGER NOT NULL,
    frame      INTEGER NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('wake', 'timeout', 'heartbeat', 'deadline')),
    generation INTEGER NOT NULL,
    due_us     INTEGER NOT NULL,
    beat_us    INTEGER,                     -- of a heartbeat: each one puts it off so far
    PRIMARY KEY (execution, frame, kind)
) STRICT, WITHOUT ROWID;
-- Query: what is due, the longest first.
CREATE INDEX timers_by_due ON timers (due_us, execution, frame, kind, generation);

-- Map Runs of executions that no job is: what `runs` does not know of them. Writer: the conductor, in the
-- commits that begin, change and redrive them.
CREATE TABLE map_runs (
    run        INTEGER PRIMARY KEY NOT NULL,
    uuid       TEXT NOT NULL,               -- its own part of its name
    machine    TEXT NOT NULL,               -- the machine of the execution that waits for it
    label      TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('standard', 'express')), -- of its children
    generation INTEGER NOT NULL,            -- what the frame that waits asked for with it
    concurrency INTEGER NOT NULL,           -- 0: as many as there is room for
    tolerated_count      INTEGER NOT NULL,
    tolerated_percentage REAL NOT NULL,
    aborted    INTEGER NOT NULL DEFAULT 0,  -- children that were stopped
    timed_out  INTEGER NOT NULL DEFAULT 0,  -- children whose time was over; they count as failed, too
    redrives   INTEGER NOT NULL DEFAULT 0,
    redriven_us INTEGER
) STRICT;
-- Query: a run by its name.
CREATE UNIQUE INDEX map_runs_by_uuid ON map_runs (uuid);

-- Tasks of activities that wait for a worker. Writer: the conductor, in the commit that asks for one and
-- in the one that hands it out or has it behind.
CREATE TABLE activity_tasks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of their coming
    activity   TEXT NOT NULL,
    execution  INTEGER NOT NULL,
    frame      INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    input      TEXT NOT NULL
) STRICT;
-- Query: the next task of an activity.
CREATE INDEX activity_tasks_by_activity ON activity_tasks (activity, id);
-- Query: the task of a frame that waits no longer.
CREATE UNIQUE INDEX activity_tasks_by_frame ON activity_tasks (execution, frame);
