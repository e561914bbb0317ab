-- What nearly every task asks for, in one round trip each. In plpgsql, which keeps its plans; each statement of a
-- volatile function sees what was committed before it.

-- These conversations and all that they were merged with, in one order for everybody, whatever they are named by: two
-- that lock several never wait for each other.
CREATE FUNCTION families_in_order(tenants bigint[], conversations text[]) RETURNS TABLE (tenant_id bigint, id text)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT DISTINCT named.tenant_id, family.id COLLATE "C"
    FROM unnest(tenants, conversations) AS named(tenant_id, id)
    CROSS JOIN LATERAL conversation_family(named.tenant_id, named.id) AS family(id) ORDER BY 1, 2
$$;

-- Holds them until the transaction ends. Who finds that a family grew while its lock was waited for begins anew.
CREATE FUNCTION lock_conversations(tenants bigint[], conversations text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held text[];
BEGIN
    held := ARRAY(SELECT tenant_id || ' ' || id FROM (
        SELECT tenant_id, id, pg_advisory_xact_lock(hashtextextended(id, tenant_id))
        FROM (SELECT tenant_id, id FROM families_in_order(tenants, conversations) OFFSET 0) ordered OFFSET 0
    ) locked);
    IF held IS DISTINCT FROM ARRAY(SELECT tenant_id || ' ' || id FROM families_in_order(tenants, conversations)) THEN
        RAISE EXCEPTION 'a conversation was merged while its lock was waited for' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- Holds the conversation and the task until the transaction ends; false when another attempt owns the task by now.
CREATE FUNCTION hold_task(tenant bigint, conversation text, task bigint, epoch integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_conversations(ARRAY[tenant], ARRAY[conversation]);
    PERFORM FROM tasks WHERE id = task AND lease_epoch = epoch AND state = 'running' FOR UPDATE;
    RETURN FOUND;
END
$$;

-- How many files of the conversation wait, failed, were discarded; an unread message counts like a file.
CREATE FUNCTION unstored_files(
    tenant bigint, conversation text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    family text[] := ARRAY(SELECT conversation_family(tenant, conversation));
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
