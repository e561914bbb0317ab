CREATE TABLE failure_groups (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    kind text NOT NULL,
    code text NOT NULL,
    signature text NOT NULL,                      -- the detail of the failure without numbers, ids and addresses
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(), -- to the minute
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'fixed', 'ignored')),
    regressed_at timestamptz,                     -- a task failed in this way after somebody had called it fixed
    ignored_until timestamptz,
    state_by text,
    state_at timestamptz,
    note text NOT NULL DEFAULT ''
);
COMMENT ON TABLE failure_groups IS
    'Tasks of one tenant and kind that failed in the same way, and what somebody decided about them.';
CREATE UNIQUE INDEX failure_groups_once ON failure_groups (coalesce(tenant_id, 0), kind, code, signature);
CREATE INDEX failure_groups_latest ON failure_groups (last_seen DESC, id DESC);
CREATE INDEX failure_groups_of_a_tenant ON failure_groups (tenant_id) WHERE tenant_id IS NOT NULL;

ALTER TABLE tasks ADD COLUMN failure_group_id bigint;  -- of the last failure
CREATE INDEX tasks_of_a_failure_group ON tasks (failure_group_id, id) WHERE state = 'failed';

CREATE FUNCTION failure_signature(detail text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(coalesce(detail, ''),
        '[^\s@<>"'',;:()]+@[^\s@<>"'',;:()]+', '<address>', 'g'),
        '\m(https?)://\S+', '<url>', 'g'),
        '"[^"]*"|''[^'']*''', '<text>', 'g'),
        '\m[a-z]{2,4}_[A-Za-z0-9]+\M|\m[0-9a-f]{8}[0-9a-f-]{8,}\M', '<id>', 'g'),
        '\d+([.,]\d+)*', '<n>', 'g'), 200)
$$;
COMMENT ON FUNCTION failure_signature IS
    'Returns what two failures of the same cause have in common: the text without addresses, URLs, quoted text, ids and '
    'numbers.';

CREATE FUNCTION find_failure_group() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own failure_groups;
    own_code text := coalesce(NEW.code, 'unknown');
    own_signature text := failure_signature(NEW.detail);
BEGIN
    LOOP
        SELECT * INTO own FROM failure_groups g
        WHERE coalesce(g.tenant_id, 0) = coalesce(NEW.tenant_id, 0) AND g.kind = NEW.kind AND g.code = own_code
          AND g.signature = own_signature;
        EXIT WHEN FOUND;
        INSERT INTO failure_groups (tenant_id, kind, code, signature)
        VALUES (NEW.tenant_id, NEW.kind, own_code, own_signature) ON CONFLICT DO NOTHING;
    END LOOP;
    -- A row that many tasks fail into is written once a minute, so that they do not wait for each other.
    IF own.last_seen < now() - interval '1 minute' OR own.state = 'fixed'
       OR own.state = 'ignored' AND own.ignored_until < now() THEN
        UPDATE failure_groups g SET last_seen = greatest(g.last_seen, now()),
            regressed_at = CASE WHEN g.state = 'fixed' THEN now() ELSE g.regressed_at END,
            state = CASE WHEN g.state = 'fixed' OR g.state = 'ignored' AND g.ignored_until < now() THEN 'open'
                         ELSE g.state END
        WHERE g.id = own.id;
    END IF;
    NEW.failure_group_id := own.id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION find_failure_group IS
    'Puts a task that fails into the group of its failure. A group that was called fixed is open again, as regressed.';
CREATE TRIGGER find_failure_group_on_insert BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (NEW.state = 'failed') EXECUTE FUNCTION find_failure_group();
CREATE TRIGGER find_failure_group_on_update BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.state = 'failed' AND OLD.state <> 'failed') EXECUTE FUNCTION find_failure_group();

-- The tasks that failed before get their groups, too. Their rows are few beside those that are done.
INSERT INTO failure_groups (tenant_id, kind, code, signature, first_seen, last_seen)
SELECT tenant_id, kind, coalesce(code, 'unknown'), failure_signature(detail),
       min(coalesce(settled_at, created_at)), max(coalesce(settled_at, created_at))
FROM tasks WHERE state = 'failed' GROUP BY 1, 2, 3, 4;
UPDATE tasks t SET failure_group_id = g.id FROM failure_groups g
WHERE t.state = 'failed' AND coalesce(g.tenant_id, 0) = coalesce(t.tenant_id, 0) AND g.kind = t.kind
  AND g.code = coalesce(t.code, 'unknown') AND g.signature = failure_signature(t.detail);
