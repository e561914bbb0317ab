-- After a restore nobody knows what was done since the backup was made.
CREATE TABLE restores (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    backup_at timestamptz NOT NULL
);
COMMENT ON TABLE restores IS
    'A restore of this database. An action of an event from before it may have reached Front, whatever our rows say.';
