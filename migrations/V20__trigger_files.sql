-- What tells a trigger's file from another one, and one that is gone from one that cannot be seen for now. Cost on a
-- large database: two columns without a value; rows get theirs when their files are seen.

-- When anything of the file was changed, its name included: where the inode alone is another one, it is the same file
-- behind another mount.
ALTER TABLE trigger_files ADD COLUMN changed_us INTEGER;
-- The inode of the folder that holds the file: what another one in its place does not have is not gone.
ALTER TABLE trigger_files ADD COLUMN folder INTEGER;
