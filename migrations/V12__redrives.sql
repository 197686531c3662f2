-- What a task of an activity is still allowed once a worker has it, and what a redrive was asked for with.

-- How long a worker may take, and how long it may be silent. Writer: the conductor, with the row.
ALTER TABLE activity_tasks ADD COLUMN timeout_us INTEGER CHECK (timeout_us > 0);
ALTER TABLE activity_tasks ADD COLUMN heartbeat_us INTEGER CHECK (heartbeat_us > 0);

-- The token that a client sent with the last redrive: the same again is the same redrive. Writer: the
-- conductor, in the commit that redrives.
ALTER TABLE executions ADD COLUMN redrive_token TEXT;

-- Query: a page of the executions of one version, or of one alias, the newest first. Cost: one pass over
-- the executions.
CREATE INDEX executions_by_version ON executions (machine, version, id) WHERE version IS NOT NULL;
CREATE INDEX executions_by_alias ON executions (machine, alias, id) WHERE alias IS NOT NULL;

-- Executions up to this one are of an earlier machine of the same name, and not listed as the new one's.
ALTER TABLE machines ADD COLUMN executions_behind INTEGER NOT NULL DEFAULT 0;
