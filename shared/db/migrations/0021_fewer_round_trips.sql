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

-- Whether nothing was ever merged with the conversation, as is nearly always so.
CREATE FUNCTION was_never_merged(tenant bigint, conversation text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.conversation_id = conversation)
       AND NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.merged_into = conversation);
END
$$;

-- Holds the conversation and the task until the transaction ends; false when another attempt owns the task by now.
-- A conversation alone needs no order; it is looked at again, as its family would be.
CREATE FUNCTION hold_task(tenant bigint, conversation text, task bigint, epoch integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF was_never_merged(tenant, conversation) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(conversation, tenant));
        IF NOT was_never_merged(tenant, conversation) THEN
            RAISE EXCEPTION 'a conversation was merged while its lock was waited for'
                USING ERRCODE = 'serialization_failure';
        END IF;
    ELSE
        PERFORM lock_conversations(ARRAY[tenant], ARRAY[conversation]);
    END IF;
    PERFORM FROM tasks WHERE id = task AND lease_epoch = epoch AND state = 'running' FOR UPDATE;
    RETURN FOUND;
END
$$;

-- The conversation's id at Front now, as far as we know: as before, with the plain case first.
CREATE OR REPLACE FUNCTION surviving_conversation(tenant bigint, conversation text) RETURNS text LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.conversation_id = conversation)
    THEN
        RETURN conversation;
    END IF;
    RETURN (
        WITH RECURSIVE chain(id, hops) AS (
            SELECT conversation, 0
            UNION ALL
            SELECT m.merged_into, hops + 1
            FROM chain JOIN merged_conversations m ON m.tenant_id = tenant AND m.conversation_id = chain.id
            WHERE hops < 100
        )
        SELECT id FROM chain ORDER BY hops DESC LIMIT 1
    );
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
