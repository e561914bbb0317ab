-- The software company's own id of a customer: one customer may have several Front companies, each a tenant.
ALTER TABLE tenants ADD COLUMN customer text;
CREATE INDEX tenants_of_a_customer ON tenants (customer) WHERE customer IS NOT NULL;

-- Links with which an admin connects a tenant. Only the digest is kept: 256 random bits need no slow hash.
CREATE TABLE connect_links (
    digest bytea PRIMARY KEY,                     -- sha256 of the link's token
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended text CHECK (ended IN ('used', 'replaced'))  -- null: good until it expires
);
CREATE UNIQUE INDEX one_open_link_of_a_tenant ON connect_links (tenant_id) WHERE ended IS NULL;
CREATE INDEX connect_links_of_a_tenant ON connect_links (tenant_id);

-- Browsers on their way to Front's consent page and back; `state` of OAuth, taken out when it comes back.
CREATE TABLE consents_asked (
    digest bytea PRIMARY KEY,                     -- sha256 of the state
    link bytea NOT NULL REFERENCES connect_links ON DELETE CASCADE,
    browser bytea NOT NULL,                       -- sha256 of what that browser's cookie holds
    expires_at timestamptz NOT NULL
);
CREATE INDEX consents_asked_with_a_link ON consents_asked (link);
CREATE INDEX consents_asked_by_age ON consents_asked (expires_at);
