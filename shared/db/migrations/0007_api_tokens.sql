-- Who may use the REST API. Only the digest of a token is kept: 256 random bits need no slow hash.
CREATE TABLE api_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL UNIQUE,                 -- sha256 of the token
    scope text NOT NULL CHECK (scope IN ('read', 'write')),
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- null: every tenant
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,                     -- to the minute
    expires_at timestamptz,
    revoked_at timestamptz
);
-- A name says which token a log line is about; it is free again once its token is revoked.
CREATE UNIQUE INDEX api_tokens_in_use ON api_tokens (name) WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_of_a_tenant ON api_tokens (tenant_id) WHERE tenant_id IS NOT NULL;
