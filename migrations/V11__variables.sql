-- Variables of executions are rows beside their frames.
--
-- Why the table is made anew: a CHECK cannot be changed. Cost: it holds the live frames only, never what has
-- ended, so it is small in every database.

CREATE TABLE frames_with_variables (
    execution INTEGER NOT NULL,
    frame     INTEGER NOT NULL,
    part      TEXT NOT NULL CHECK (part IN ('head', 'frame', 'items', 'result', 'variable')),
    idx       INTEGER NOT NULL,             -- the iteration of a result, the place of a variable, else 0
    body      TEXT NOT NULL,                -- the interpreter's own format, versioned
    PRIMARY KEY (execution, frame, part, idx)
) STRICT, WITHOUT ROWID;

INSERT INTO frames_with_variables SELECT execution, frame, part, idx, body FROM frames;
DROP TABLE frames;
ALTER TABLE frames_with_variables RENAME TO frames;
