-- What triggers remember. Cost on a large database: new tables alone; nothing that is there is touched.

-- Executions that a trigger with a bound has started and that run. Writer: the conductor, with the commit that
-- begins one, and with that which ends it.
CREATE TABLE triggered_executions (
    execution INTEGER PRIMARY KEY,
    trigger   TEXT NOT NULL                 -- its name in the settings. Query: all of them at the start
) STRICT;
