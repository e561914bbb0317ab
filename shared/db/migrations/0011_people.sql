-- Where a user comes from, and whether the sync with Front made them inactive: then it may make them active again.
ALTER TABLE users
    ADD COLUMN origin text NOT NULL DEFAULT 'given' CHECK (origin IN ('given', 'front')),
    ADD COLUMN deactivated_by_front boolean NOT NULL DEFAULT false;

-- Addresses of shared inboxes: whoever is written to there is the user mapped to it, else the tenant's default owner.
CREATE TABLE inbox_addresses (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    address text NOT NULL,                        -- the match key, as in user_addresses
    as_given text NOT NULL,
    inbox_id text,                                -- inb_…; null: named by a person
    inbox_name text,
    user_id bigint,                               -- null: nobody of its own
    PRIMARY KEY (tenant_id, address),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE SET NULL (user_id)
);

ALTER TABLE tenants
    ADD COLUMN default_owner bigint,
    ADD FOREIGN KEY (id, default_owner) REFERENCES users ON DELETE SET NULL (default_owner);
