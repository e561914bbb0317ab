-- An operator's pause is the operator's: a tenant's own token does not end it. Those of today are operators'.
ALTER TABLE tenants ADD COLUMN paused_by text CHECK (paused_by IN ('operator', 'tenant'));

CREATE TABLE tenant_journal (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    what text NOT NULL CHECK (what IN ('added', 'changed', 'removed')),
    kind text NOT NULL CHECK (kind IN ('tenant', 'user', 'user_address', 'inbox_address', 'connection', 'connect_link',
                                       'api_token')),
    name text,
    user_id bigint,
    before jsonb,
    after jsonb,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
COMMENT ON TABLE tenant_journal IS
    'A change of a tenant, or of its users, addresses, connection, links or tokens, by a command, the API or a consent.';
CREATE INDEX tenant_journal_of_a_user ON tenant_journal (tenant_id, user_id) WHERE user_id IS NOT NULL;

CREATE FUNCTION write_tenant_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    left_out constant text[] := ARRAY['tenant_id', 'updated_at', 'position', 'parked_at', 'last_served_at',
                                      'not_before', 'probe_at', 'probe_task_id', 'deactivated_by_front', 'secret',
                                      'digest', 'last_used_at', 'refreshing_until', 'keep_alive_at', 'refusals'];
    entry tenant_journal;
    old_row jsonb;
    new_row jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW); END IF;
    entry.name := coalesce(new_row, old_row) ->> TG_ARGV[1];
    entry.tenant_id := coalesce(new_row, old_row) ->> TG_ARGV[2];
    entry.user_id := coalesce(new_row, old_row) ->> TG_ARGV[3];
    IF TG_OP = 'UPDATE' THEN
        entry.what := 'changed';
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, new_row -> o.key)
        INTO entry.before, entry.after FROM jsonb_each(old_row - left_out) o
        WHERE o.value IS DISTINCT FROM new_row -> o.key;
        IF entry.before IS NULL THEN RETURN NULL; END IF;
    ELSIF TG_OP = 'INSERT' THEN
        entry.what := 'added';
        entry.after := jsonb_strip_nulls(new_row - left_out);
    ELSE
        entry.what := 'removed';
        entry.before := jsonb_strip_nulls(old_row - left_out);
        IF TG_ARGV[0] = 'user' THEN
            entry.name := NULL;
            entry.user_id := NULL;
            entry.before := jsonb_build_object('id', OLD.id);
        ELSIF entry.user_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM users u WHERE u.tenant_id = entry.tenant_id AND u.id = entry.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO tenant_journal (tenant_id, who, what, kind, name, user_id, before, after)
    VALUES (entry.tenant_id, current_setting('mailroom.actor'), entry.what, TG_ARGV[0], entry.name, entry.user_id,
            entry.before, entry.after);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION write_tenant_journal IS
    'Writes a change into the tenant''s journal. Arguments: its kind, and the columns of its name, tenant and user. '
    'A user who is deleted leaves a number: names, addresses and earlier entries go.';

CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON tenants FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '') EXECUTE FUNCTION write_tenant_journal('tenant', 'name', 'id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('user', 'external_id', 'tenant_id', 'id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON user_addresses FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('user_address', 'as_given', 'tenant_id', 'user_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON inbox_addresses FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('inbox_address', 'as_given', 'tenant_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON connections FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('connection', 'kind', 'tenant_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON connect_links FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('connect_link', 'company_id', 'tenant_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON api_tokens FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '' AND NEW.tenant_id IS NOT NULL)
    EXECUTE FUNCTION write_tenant_journal('api_token', 'name', 'tenant_id');
