-- Monitoring asks for the age of the last backup.
CREATE TABLE backups (
    made_at timestamptz PRIMARY KEY
);
COMMENT ON TABLE backups IS
    'A backup that `mailroom backup` completed, by the moment that its rows show.';
