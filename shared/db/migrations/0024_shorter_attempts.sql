-- What every attempt says to the database, in fewer words and with less to do for each. In plpgsql, which keeps its plans;
-- each statement of a volatile function sees what was committed before it.

-- The conversation and all that it was merged with, as a list: nearly always itself, which needs no set of rows.
CREATE FUNCTION family_of(tenant bigint, conversation text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF was_never_merged(tenant, conversation) THEN
        RETURN ARRAY[conversation];
    END IF;
    RETURN ARRAY(SELECT conversation_family(tenant, conversation));
END
$$;

-- As before, by the list. A plan for any list: the planner takes it for longer than it is, and would plan anew each time.
CREATE OR REPLACE FUNCTION unstored_files(
    tenant bigint, conversation text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    family text[] := family_of(tenant, conversation);
BEGIN
    SELECT count(*) FILTER (WHERE missing.state = 'waiting'), count(*) FILTER (WHERE missing.state = 'failed'),
           count(*) FILTER (WHERE missing.state = 'discarded')
    INTO waiting, failed, discarded
    FROM (
        SELECT a.state FROM attachments a
        WHERE a.tenant_id = tenant AND a.conversation_id = ANY(family) AND a.state <> 'stored'
        UNION ALL
        SELECT CASE WHEN t.state IN ('ready', 'queued', 'running') THEN 'waiting' ELSE t.state END
        FROM events e JOIN tasks t ON t.event_id = e.id AND t.kind = 'fetch_message'
        WHERE e.tenant_id = tenant AND e.conversation_id = ANY(family)
    ) missing;
END
$$;

-- Holds the conversation until the transaction ends. One that is alone needs no order; it is looked at again, as its
-- family would be.
CREATE FUNCTION hold_conversation(tenant bigint, conversation text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT was_never_merged(tenant, conversation) THEN
        PERFORM lock_conversations(ARRAY[tenant], ARRAY[conversation]);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(conversation, tenant));
    IF NOT was_never_merged(tenant, conversation) THEN
        RAISE EXCEPTION 'a conversation was merged while its lock was waited for' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- As before: the conversation and the task, false when another attempt owns the task by now.
CREATE OR REPLACE FUNCTION hold_task(tenant bigint, conversation text, task bigint, epoch integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM hold_conversation(tenant, conversation);
    PERFORM FROM tasks WHERE id = task AND lease_epoch = epoch AND state = 'running' FOR UPDATE;
    RETURN FOUND;
END
$$;

-- Holds both and tells the action of the task's event. `alone`: nothing else was recorded of its conversation, so that
-- nothing of ours can overrule or precede it.
CREATE FUNCTION held_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint,
    OUT held boolean, OUT alone boolean, OUT event_id bigint, OUT kind text, OUT wait_for text, OUT state text,
    OUT emitted_at timestamptz, OUT intent_at timestamptz, OUT age_seconds float8, OUT dry_run boolean,
    OUT undo_asked boolean, OUT survivor text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    own actions;
    family text[];
BEGIN
    held := hold_task(tenant, conversation, task, epoch);
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
    family := family_of(own.tenant_id, own.conversation_id);
    alone := NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = own.tenant_id AND e.conversation_id = ANY(family)
                         AND e.id <> own.event_id);
END
$$;

-- Any failed, else any open, else done.
CREATE FUNCTION derive_event(event bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE events e
    SET state = CASE WHEN t.failed > 0 THEN 'failed' WHEN t.open > 0 THEN 'processing' ELSE 'done' END,
        cause = CASE WHEN t.failed > 0 THEN t.code END
    FROM (SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
                 count(*) FILTER (WHERE state IN ('ready', 'queued', 'running')) AS open,
                 min(code) FILTER (WHERE state = 'failed') AS code
          FROM tasks WHERE event_id = event) t
    WHERE e.id = event AND e.state IN ('processing', 'done', 'failed');
END
$$;

-- Ends a task that this attempt still holds; false when another one owns it.
CREATE FUNCTION end_task(task bigint, epoch integer, as_state text, why text, told text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET state = as_state, code = why, detail = told, lease_until = NULL, settled_at = now()
    WHERE id = task AND lease_epoch = epoch AND state = 'running';
    RETURN FOUND;
END
$$;

-- Writes how an attempt ended and what it asked of Front, derives the event's state, and forgets who was left unanswered
-- when Front answered somebody. Whether anything of the tenant is due now, by an index for each lane.
CREATE FUNCTION end_attempt(
    task bigint, lease integer, event bigint, tenant bigint, as_outcome text, why text, told text, asked jsonb,
    answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM derive_event(event);
    UPDATE attempts SET ended_at = clock_timestamp(), outcome = as_outcome, code = why, detail = told, calls = asked
    WHERE task_id = task AND epoch = lease;
    IF answered THEN
        DELETE FROM unanswered;
    END IF;
    RETURN EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind <> 'store_attachment'
                   AND due_at <= now())
        OR EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind = 'store_attachment'
                   AND due_at <= now());
END
$$;

CREATE FUNCTION settle_action(event bigint, as_state text, why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE actions SET state = as_state, reason = why, settled_at = now() WHERE event_id = event;
END
$$;

-- All of it for an action's task: what is held, the task, its action, and what follows. Null when another attempt owns it.
CREATE FUNCTION end_with_action(
    tenant bigint, conversation text, task bigint, lease integer, event bigint, as_state text, action_state text,
    why text, asked jsonb, answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM hold_conversation(tenant, conversation);
    IF NOT end_task(task, lease, as_state, NULL, NULL) THEN
        RETURN NULL;
    END IF;
    PERFORM settle_action(event, action_state, why);
    RETURN end_attempt(task, lease, event, tenant, as_state, NULL, NULL, asked, answered);
END
$$;
