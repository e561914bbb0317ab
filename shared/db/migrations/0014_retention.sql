-- Files whose rows retention deleted: named here until they are gone from the storage, whoever dies in between.
CREATE TABLE expired_files (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    front_id text NOT NULL,                       -- fil_…
    path text,                                    -- null: it was never said to be stored, though it may be
    PRIMARY KEY (tenant_id, front_id)
);
-- The same file may belong to several events: it goes with the last of them.
CREATE INDEX attachments_of_a_file ON attachments (tenant_id, front_id);
