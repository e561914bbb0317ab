-- An event's recipients stand in its own row: in rows of their own they were five of its eleven, and seven of the sixteen
-- checks of foreign keys that it cost. Those written so far stay where they are, and go as their events do.
ALTER TABLE recipients RENAME TO recipients_one_by_one;
ALTER TABLE events ADD COLUMN recipients json;    -- [[handle, role, id of our user or null, reason], …] as in the message

-- A row for each, wherever it stands. A user who is gone, or who never was this tenant's, is nobody.
CREATE VIEW recipients AS
SELECT event_id, position, tenant_id, handle, role, user_id, reason FROM recipients_one_by_one
UNION ALL
SELECT e.id, (n.place - 1)::smallint, e.tenant_id, n.recipient->>0, n.recipient->>1, u.id, n.recipient->>3
FROM events e
CROSS JOIN LATERAL json_array_elements(e.recipients) WITH ORDINALITY AS n(recipient, place)
LEFT JOIN users u ON u.tenant_id = e.tenant_id AND u.id = (n.recipient->>2)::bigint;

-- A recorder of the release before goes on until it is replaced.
CREATE FUNCTION add_recipient() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recipients_one_by_one (event_id, position, tenant_id, handle, role, user_id, reason)
    VALUES (NEW.event_id, NEW.position, NEW.tenant_id, NEW.handle, NEW.role, NEW.user_id, NEW.reason);
    RETURN NEW;
END
$$;
CREATE TRIGGER add_recipient INSTEAD OF INSERT ON recipients FOR EACH ROW EXECUTE FUNCTION add_recipient();
