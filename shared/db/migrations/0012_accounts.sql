CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    password text,                                -- Argon2id as a PHC string; null: none is set
    oidc_issuer text,
    oidc_subject text,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    last_login_at timestamptz,
    UNIQUE (oidc_issuer, oidc_subject)
);
COMMENT ON TABLE accounts IS
    'A person who may log in to the console, and with which role.';
CREATE UNIQUE INDEX accounts_by_email ON accounts (lower(email));

CREATE TABLE login_links (
    digest bytea PRIMARY KEY,                     -- sha256 of the link's token
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('password', 'login')),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE login_links IS
    'A link that works once: its holder sets the password of the account, or is logged in to it.';
CREATE INDEX login_links_of_an_account ON login_links (account_id);

CREATE TABLE console_sessions (
    digest bytea PRIMARY KEY,                     -- sha256 of the cookie
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()    -- to the minute
);
COMMENT ON TABLE console_sessions IS
    'A browser that is logged in to the console. Its row is deleted when the session ends.';
CREATE INDEX console_sessions_of_an_account ON console_sessions (account_id);

CREATE TABLE login_failures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bytea NOT NULL,                       -- sha256 of the e-mail address that was typed
    address text NOT NULL,                        -- an IPv4 address, or the /64 of an IPv6 address
    failed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE login_failures IS
    'A log-in with a wrong password. Many of them in a short time close the account or the address for a while.';
CREATE INDEX login_failures_of_an_account ON login_failures (account, failed_at);
CREATE INDEX login_failures_of_an_address ON login_failures (address, failed_at);

-- A row outlives the account that it names. It goes with the tenant that it is about.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    via text NOT NULL CHECK (via IN ('page', 'api', 'cli')),
    verb text NOT NULL,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    target text NOT NULL,
    allowed boolean NOT NULL,
    before jsonb,
    after jsonb,
    detail text NOT NULL DEFAULT ''
);
COMMENT ON TABLE audit IS
    'A change that somebody asked for, or a look at something private, whether it was allowed or not.';
CREATE INDEX audit_of_a_tenant ON audit (tenant_id, id) WHERE tenant_id IS NOT NULL;
