-- Doing finished records again. The old result stays current until the new outcome is there; then it
-- moves to superseded_rows. Cost on a large database: none, columns are added with a constant default
-- (no CHECK on them: SQLite would read all rows for it), and the tables are new.

-- How often the record was put back by a redo, as of this row; part of its idempotency key. Writers: as
-- of the tables. A result is being redone as long as the record has a row in children.
ALTER TABLE children ADD COLUMN redo INTEGER NOT NULL DEFAULT 0;
ALTER TABLE result_rows ADD COLUMN redo INTEGER NOT NULL DEFAULT 0;
ALTER TABLE failure_rows ADD COLUMN redo INTEGER NOT NULL DEFAULT 0;

-- Results that a redo has replaced. Writer: the run's actor, in the commit of the new outcome; the
-- pruner removes them with their run.
CREATE TABLE superseded_rows (
    run      INTEGER NOT NULL,
    idx      INTEGER NOT NULL,
    redo     INTEGER NOT NULL CHECK (redo >= 0), -- of the old result
    id       TEXT,
    result   TEXT NOT NULL,
    version  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    superseded_us INTEGER NOT NULL,
    PRIMARY KEY (run, idx, redo)
) STRICT, WITHOUT ROWID;

-- Where records begin in the source: one row for each 1,024 of them, so that any record can be read
-- again at that cost. Writer: the run's actor, in a commit at or before the one in which its watermark
-- passes the place. Runs that an earlier release began have none for what that release read.
CREATE TABLE positions (
    run    INTEGER NOT NULL,
    idx    INTEGER NOT NULL,                -- the record that is read from there first
    cursor TEXT NOT NULL,                   -- the source's own, versioned
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;

-- Stable views for people's own SQL: new columns come last.
DROP VIEW results;
DROP VIEW failures;
DROP VIEW items;
CREATE VIEW results AS
    SELECT runs.job, runs.id AS run, r.idx AS "index", r.id, r.result, r.version, r.attempts,
           r.at_us / 1000000 AS at, r.redo,
           EXISTS (SELECT 1 FROM children AS c WHERE c.run = r.run AND c.idx = r.idx) AS redoing
    FROM result_rows AS r JOIN runs ON runs.id = r.run;
CREATE VIEW superseded AS
    SELECT runs.job, runs.id AS run, s.idx AS "index", s.id, s.redo, s.result, s.version, s.attempts,
           s.at_us / 1000000 AS at, s.superseded_us / 1000000 AS superseded_at
    FROM superseded_rows AS s JOIN runs ON runs.id = s.run;
CREATE VIEW failures AS
    SELECT runs.job, runs.id AS run, f.idx AS "index", f.id, f.error, f.cause, f.attempts,
           f.version, f.payload, f.at_us / 1000000 AS at, f.redo
    FROM failure_rows AS f JOIN runs ON runs.id = f.run;
-- One row for each item: one that is redone stands here as what waits, not as done.
CREATE VIEW items AS
    SELECT runs.job, runs.id AS run, c.idx AS "index", c.id, c.status, c.attempts, c.error,
           c.cause, c.due_us / 1000000 AS due, c.redo
    FROM children AS c JOIN runs ON runs.id = c.run
    UNION ALL
    SELECT runs.job, runs.id, r.idx, r.id, 'done', r.attempts, NULL, NULL, NULL, r.redo
    FROM result_rows AS r JOIN runs ON runs.id = r.run
    WHERE NOT EXISTS (SELECT 1 FROM children AS c WHERE c.run = r.run AND c.idx = r.idx)
    UNION ALL
    SELECT runs.job, runs.id, f.idx, f.id, 'failed', f.attempts, f.error, f.cause, NULL, f.redo
    FROM failure_rows AS f JOIN runs ON runs.id = f.run;
