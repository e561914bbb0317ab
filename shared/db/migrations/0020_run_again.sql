-- An attempt names the version of Mailroom that made it.
ALTER TABLE attempts ADD COLUMN version text NOT NULL DEFAULT '';

-- An event that is recorded again may have other files afterwards: until then its conversation's actions wait.
CREATE OR REPLACE FUNCTION unstored_files(
    tenant bigint, conversation text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    family text[] := conversation_family_array(tenant, conversation);
BEGIN
    SELECT count(*) FILTER (WHERE missing.state = 'waiting'), count(*) FILTER (WHERE missing.state = 'failed'),
           count(*) FILTER (WHERE missing.state = 'discarded')
    INTO waiting, failed, discarded
    FROM (
        SELECT a.state FROM attachments a
        WHERE a.tenant_id = tenant AND a.conversation_id = ANY(family) AND a.state <> 'stored'
        UNION ALL
        SELECT CASE WHEN t.state IN ('ready', 'queued', 'running') THEN 'waiting' ELSE t.state END
        FROM events e JOIN tasks t ON t.event_id = e.id
            AND (t.kind = 'fetch_message' OR t.kind = 'record' AND t.state <> 'discarded')
        WHERE e.tenant_id = tenant AND e.conversation_id = ANY(family)
    ) missing;
END
$$;
COMMENT ON FUNCTION unstored_files IS
    'Counts the files of the conversation''s family that are not stored. A message that was not read counts as a file, '
    'as does an event that is to be recorded again.';
