-- At Front's rate limit, a tenant's backlog rests until calls are free again, and live work goes on. Tasks that wait
-- already belong to a backlog.
ALTER TABLE tenants
    ADD COLUMN backlog_not_before timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN at_limit_at timestamptz;
ALTER TABLE tasks ADD COLUMN is_live boolean NOT NULL DEFAULT false;
CREATE INDEX tasks_due_live ON tasks (tenant_id, due_at, id) WHERE state = 'ready' AND is_live;

-- Due tasks are looked up for files and for other work apart, because each has its own index.
CREATE OR REPLACE FUNCTION end_attempt(
    task bigint, held_epoch integer, event bigint, tenant bigint, task_state text, failure_code text,
    failure_detail text, front_calls jsonb, front_answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM update_event_state(event);
    UPDATE attempts SET ended_at = clock_timestamp(), outcome = task_state, code = failure_code,
                        detail = failure_detail, calls = front_calls
    WHERE task_id = task AND epoch = held_epoch;
    IF front_answered THEN
        DELETE FROM unanswered_tasks;
    END IF;
    RETURN EXISTS (SELECT FROM tenants WHERE id = tenant AND not_before <= now() AND backlog_not_before <= now())
        AND (EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind <> 'store_attachment'
                     AND due_at <= now())
          OR EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind = 'store_attachment'
                     AND due_at <= now()));
END
$$;
COMMENT ON FUNCTION end_attempt IS
    'Writes how an attempt ended and which calls it made, and updates the state of its event. '
    'Empties unanswered_tasks when Front answered. Returns whether the tenant has a task that is due now, and that its '
    'budget does not hold back.';

CREATE FUNCTION rest_tenant(tenant bigint, live boolean, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenants
    SET at_limit_at = now(),
        not_before = CASE WHEN live THEN greatest(not_before, now() + make_interval(secs => seconds))
                          ELSE not_before END,
        backlog_not_before = CASE WHEN live THEN backlog_not_before
                                  ELSE greatest(backlog_not_before, now() + make_interval(secs => seconds)) END
    WHERE id = tenant;
END
$$;
COMMENT ON FUNCTION rest_tenant IS
    'Holds work of the tenant back for so long, because Front''s budget for it is used up: its backlog, or all of it '
    'when there was no call left for live work either.';

CREATE FUNCTION rest_task(task bigint, held_epoch integer, tenant bigint, live boolean, seconds float8) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET state = 'ready', lease_until = NULL, attempts = attempts - 1
    WHERE id = task AND lease_epoch = held_epoch AND state = 'running';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM attempts WHERE task_id = task AND epoch = held_epoch;
    PERFORM rest_tenant(tenant, live, seconds);
    RETURN true;
END
$$;
COMMENT ON FUNCTION rest_task IS
    'Puts a task back as if it had not been claimed, in its place, and does what rest_tenant does. '
    'Returns false, and changes nothing, when the task does not run under this lease epoch.';
