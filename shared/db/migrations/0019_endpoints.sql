CREATE TABLE endpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    name text NOT NULL UNIQUE,
    url text NOT NULL,
    types text[],
    include text NOT NULL DEFAULT 'text' CHECK (include IN ('text', 'html', 'none')),
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_until timestamptz,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'held')),
    held_cause text CHECK (held_cause IN ('failures', 'gone', 'disabled', 'person')),
    held_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    last_failure text,
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    released_at timestamptz,
    probe_at timestamptz,
    probe_task_id bigint,
    alarms smallint NOT NULL DEFAULT 0,
    last_success_at timestamptz,
    last_seconds real,
    last_sent_at timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_held CHECK ((state = 'held') = (held_cause IS NOT NULL AND held_at IS NOT NULL))
);
COMMENT ON TABLE endpoints IS
    'A URL of the host application that gets notifications, and whether it is held: then they wait.';
CREATE INDEX endpoints_of_a_tenant ON endpoints (tenant_id) WHERE tenant_id IS NOT NULL;

ALTER TABLE tasks
    ALTER COLUMN event_id DROP NOT NULL,
    ADD COLUMN endpoint_id bigint REFERENCES endpoints ON DELETE CASCADE,
    ADD COLUMN position bigint REFERENCES notifications ON DELETE CASCADE,
    ADD COLUMN order_key bigint,
    DROP CONSTRAINT tasks_kind_check,
    ADD CONSTRAINT tasks_kind_check CHECK
        (kind IN ('record', 'fetch_message', 'store_attachment', 'apply_action', 'undo_action', 'notify')),
    DROP CONSTRAINT tasks_without_a_tenant,
    ADD CONSTRAINT tasks_without_a_tenant CHECK
        (tenant_id IS NOT NULL OR kind = 'record' AND attachment_id IS NULL OR kind = 'notify'),
    ADD CONSTRAINT tasks_without_an_event CHECK (event_id IS NOT NULL OR kind = 'notify'),
    ADD CONSTRAINT tasks_that_notify CHECK
        (CASE WHEN kind = 'notify'
              THEN endpoint_id IS NOT NULL AND position IS NOT NULL AND order_key IS NOT NULL AND attachment_id IS NULL
              ELSE endpoint_id IS NULL AND position IS NULL AND order_key IS NULL END);

-- Notifications are dispatched by endpoint and wait for nothing of their tenant, so they are in none of its indexes.
DROP INDEX tasks_due_others;
CREATE INDEX tasks_due_others ON tasks (tenant_id, due_at, id)
    WHERE state = 'ready' AND kind NOT IN ('store_attachment', 'notify');
CREATE INDEX tasks_due_notifications ON tasks (endpoint_id, due_at, position) WHERE state = 'ready' AND kind = 'notify';
CREATE INDEX tasks_open_notifications ON tasks (endpoint_id, order_key, position)
    WHERE kind = 'notify' AND state IN ('ready', 'queued', 'running');
CREATE INDEX tasks_of_an_endpoint ON tasks (endpoint_id, id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX tasks_of_a_notification ON tasks (position) WHERE position IS NOT NULL;

ALTER TABLE tenants ADD COLUMN act_after text NOT NULL DEFAULT 'files' CHECK (act_after IN ('files', 'notified'));
ALTER TABLE actions ADD COLUMN act_after text NOT NULL DEFAULT 'files' CHECK (act_after IN ('files', 'notified'));

ALTER TABLE jobs DROP CONSTRAINT jobs_verb_check,
    ADD CONSTRAINT jobs_verb_check CHECK (verb IN ('retry', 'discard', 'recover'));

CREATE FUNCTION host_notices(event bigint, OUT notified bigint, OUT to_notify bigint, OUT not_notified bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT count(*) FILTER (WHERE t.state IN ('done', 'discarded')),
           count(*) FILTER (WHERE t.state IN ('ready', 'queued', 'running')), count(*) FILTER (WHERE t.state = 'failed')
    INTO notified, to_notify, not_notified
    FROM tasks t JOIN notifications n ON n.position = t.position
    WHERE t.event_id = event AND t.kind = 'notify' AND n.type IN ('message.received', 'message.unmatched');
END
$$;
COMMENT ON FUNCTION host_notices IS
    'Counts the endpoints that were told of the event''s message, or need not be any more; those that are still to be '
    'told; and those that could not be told.';

CREATE OR REPLACE FUNCTION update_event_state(event bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    counts record;
    own record;
    announces boolean;
BEGIN
    SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state IN ('ready', 'queued', 'running') AND kind <> 'notify') AS open,
           min(code) FILTER (WHERE state = 'failed') AS code,
           count(*) FILTER (WHERE kind IN ('fetch_message', 'store_attachment')) AS parts,
           count(*) FILTER (WHERE kind IN ('fetch_message', 'store_attachment')
                              AND state IN ('ready', 'queued', 'running')
                            OR kind = 'fetch_message' AND state = 'failed') AS unread
    INTO counts FROM tasks WHERE event_id = event;
    announces := counts.parts > 0 AND counts.unread = 0
        AND EXISTS (SELECT FROM events e WHERE e.id = event AND e.to_announce);
    UPDATE events e
    SET state = CASE WHEN counts.failed > 0 THEN 'failed' WHEN counts.open > 0 THEN 'processing' ELSE 'done' END,
        cause = CASE WHEN counts.failed > 0 THEN counts.code END,
        to_announce = e.to_announce AND NOT announces
    WHERE e.id = event AND e.state IN ('processing', 'done', 'failed')
    RETURNING e.tenant_id, e.conversation_id, e.type, e.recipients INTO own;
    IF announces AND FOUND THEN
        INSERT INTO outbox (tenant_id, conversation_id, type, event_id)
        VALUES (own.tenant_id, coalesce(own.conversation_id, ''),
                message_notification_type(own.type, own.recipients), event);
    END IF;
END
$$;
COMMENT ON FUNCTION update_event_state IS
    'Derives the event''s state from its tasks: failed if any failed, else processing if any is open, else done. '
    'A notification that is still to be sent does not hold the event open: its endpoint may be away for days. '
    'Events that are ignored or parked stay as they are. '
    'Announces the message once its recipients are known and each of its files is stored, failed or discarded.';

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
        AND (EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind NOT IN ('store_attachment', 'notify')
                     AND due_at <= now())
          OR EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind = 'store_attachment'
                     AND due_at <= now()));
END
$$;
COMMENT ON FUNCTION end_attempt IS
    'Writes how an attempt ended and which calls it made, and updates the state of its event. '
    'Empties unanswered_tasks when Front answered. Returns whether the tenant has a task that is due now, and that its '
    'budget does not hold back.';

DROP FUNCTION lock_action(bigint, text, bigint, integer, bigint);
CREATE FUNCTION lock_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint,
    OUT held boolean, OUT alone boolean, OUT event_id bigint, OUT kind text, OUT wait_for text, OUT state text,
    OUT emitted_at timestamptz, OUT intent_at timestamptz, OUT age_seconds float8, OUT dry_run boolean,
    OUT undo_asked boolean, OUT survivor text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint,
    OUT act_after text, OUT notified bigint, OUT to_notify bigint, OUT not_notified bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    own actions;
    family text[];
BEGIN
    held := lock_task(tenant, conversation, task, epoch);
    IF NOT held THEN
        RETURN;
    END IF;
    SELECT * INTO own FROM actions a WHERE a.event_id = event;
    event_id := own.event_id;
    kind := own.kind;
    wait_for := own.wait_for;
    state := own.state;
    emitted_at := own.emitted_at;
    intent_at := own.intent_at;
    age_seconds := extract(epoch FROM now() - own.emitted_at);
    dry_run := own.dry_run;
    undo_asked := own.undo_asked_at IS NOT NULL;
    survivor := surviving_conversation(own.tenant_id, own.conversation_id);
    SELECT u.waiting, u.failed, u.discarded INTO waiting, failed, discarded
    FROM unstored_files(own.tenant_id, own.conversation_id) u;
    act_after := own.act_after;
    IF act_after = 'notified' THEN
        SELECT h.notified, h.to_notify, h.not_notified INTO notified, to_notify, not_notified FROM host_notices(event) h;
    END IF;
    family := conversation_family_array(own.tenant_id, own.conversation_id);
    alone := NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = own.tenant_id AND e.conversation_id = ANY(family)
                         AND e.id <> own.event_id);
END
$$;
COMMENT ON FUNCTION lock_action IS
    'Does what lock_task does, and returns the action of the task''s event. `held` is the answer of lock_task. '
    '`alone` is true when no other event of the family was recorded: then nothing can precede or overrule the action.';
