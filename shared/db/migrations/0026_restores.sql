-- After a restore nobody knows what was done since the backup was made.
CREATE TABLE restores (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    backup_at timestamptz NOT NULL
);
COMMENT ON TABLE restores IS
    'A restore of this database. An action of an event from before it may have reached Front, whatever our rows say.';

CREATE FUNCTION may_have_acted_before(emitted timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM restores r WHERE r.at >= emitted - interval '5 seconds')
$$;
COMMENT ON FUNCTION may_have_acted_before IS
    'Whether an event of that time may have been acted on before a restore. The clock of Front may be 5 seconds ahead.';
