-- No row of a tenant can point at another tenant's: the tenant is part of what it points with. The constraints hold for
-- new rows from here on; old ones are looked at in a transaction of its own, which locks nobody out.
ALTER TABLE tenants ADD CONSTRAINT tenants_with_company UNIQUE (id, company_id);
ALTER TABLE events ADD CONSTRAINT events_of_the_tenants_company
    FOREIGN KEY (tenant_id, company_id) REFERENCES tenants (id, company_id) ON DELETE CASCADE NOT VALID;

-- The key of attachments serves two: it is found by its id, and tasks name all of it.
ALTER TABLE tasks DROP CONSTRAINT tasks_attachment_id_fkey;
ALTER TABLE attachments DROP CONSTRAINT attachments_pkey,
    ADD CONSTRAINT attachments_pkey PRIMARY KEY (id, event_id, tenant_id);
ALTER TABLE tasks
    ADD CONSTRAINT tasks_of_an_attachment
        FOREIGN KEY (attachment_id, event_id, tenant_id) REFERENCES attachments (id, event_id, tenant_id)
        ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT tasks_of_the_events_tenant
        FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE NOT VALID,
    -- Without a tenant the keys above check nothing: that is for bodies that could not be read alone.
    ADD CONSTRAINT tasks_without_a_tenant CHECK (tenant_id IS NOT NULL OR kind = 'record' AND attachment_id IS NULL)
        NOT VALID;

-- Without it whoever deletes a user reads all recipients there ever were.
CREATE INDEX recipients_who_are_users ON recipients (tenant_id, user_id) WHERE user_id IS NOT NULL;
