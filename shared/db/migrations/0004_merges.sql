-- Conversations that Front merged are one: what waits, is locked or overrules in one of them does so in all.
CREATE INDEX merged_conversations_into ON merged_conversations (tenant_id, merged_into);

-- The conversation and all that it was merged with, in whatever direction. Asked with every lock: nearly all
-- conversations were never merged, so that is looked up first, and in plpgsql, which keeps its plans.
CREATE FUNCTION conversation_family(tenant bigint, conversation text) RETURNS SETOF text LANGUAGE plpgsql STABLE ROWS 1
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.conversation_id = conversation)
       AND NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.merged_into = conversation)
    THEN
        RETURN NEXT conversation;
        RETURN;
    END IF;
    RETURN QUERY WITH RECURSIVE family(id) AS (
        SELECT conversation
        UNION
        SELECT CASE m.conversation_id WHEN family.id THEN m.merged_into ELSE m.conversation_id END
        FROM family JOIN merged_conversations m
          ON m.tenant_id = tenant AND (m.conversation_id = family.id OR m.merged_into = family.id)
    ) SELECT family.id FROM family;
END
$$;

-- The conversation's id at Front now, as far as we know.
CREATE FUNCTION surviving_conversation(tenant bigint, conversation text) RETURNS text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE chain(id, hops) AS (
        SELECT conversation, 0
        UNION ALL
        SELECT m.merged_into, hops + 1
        FROM chain JOIN merged_conversations m ON m.tenant_id = tenant AND m.conversation_id = chain.id
        WHERE hops < 100
    )
    SELECT id FROM chain ORDER BY hops DESC LIMIT 1
$$;
