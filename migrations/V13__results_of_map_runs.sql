-- What a Map Run leaves beside its children.

-- Why it failed, where that is not what became of its children: its items cannot be read. Writer: the conductor,
-- in the commit that ends the run.
ALTER TABLE map_runs ADD COLUMN error TEXT;
ALTER TABLE map_runs ADD COLUMN cause TEXT;
-- Children whose results its writer has written. Writer: the conductor, once the files are there.
ALTER TABLE map_runs ADD COLUMN written INTEGER NOT NULL DEFAULT 0;
