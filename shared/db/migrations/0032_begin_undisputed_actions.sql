-- A fresh action of a conversation of its own begins in one statement.
CREATE FUNCTION begin_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint, fresh_seconds float8,
    OUT begun boolean, OUT event_id bigint, OUT kind text, OUT wait_for text, OUT emitted_at timestamptz,
    OUT age_seconds float8, OUT survivor text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    own record;
BEGIN
    SELECT * INTO own FROM lock_action(tenant, conversation, task, epoch, event);
    begun := coalesce(own.held AND own.alone AND own.state = 'planned' AND own.act_after = 'files'
        AND own.waiting + own.failed + own.discarded = 0 AND own.age_seconds <= fresh_seconds
        AND NOT own.dry_run AND NOT own.undo_asked, false);
    IF begun THEN
        UPDATE actions a SET state = 'intent', intent_at = now() WHERE a.event_id = event;
        event_id := own.event_id;
        kind := own.kind;
        wait_for := own.wait_for;
        emitted_at := own.emitted_at;
        age_seconds := own.age_seconds;
        survivor := own.survivor;
    END IF;
END
$$;
COMMENT ON FUNCTION begin_action IS
    'Records the intent of an action that nothing can precede or overrule, and returns its facts. '
    'In any other case it records nothing, and `begun` is false: then the caller decides.';
