-- The end of an action is committed without a wait for the disk.
CREATE OR REPLACE FUNCTION end_with_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint, task_state text, action_state text,
    action_reason text, front_calls jsonb, front_answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- A power cut may lose this commit. The intent is still there then, and the next attempt looks it up at Front.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM lock_conversation(tenant, conversation);
    IF NOT end_task(task, epoch, task_state, NULL, NULL) THEN
        RETURN NULL;
    END IF;
    PERFORM settle_action(event, action_state, action_reason);
    RETURN end_attempt(task, epoch, event, tenant, task_state, NULL, NULL, front_calls, front_answered);
END
$$;
