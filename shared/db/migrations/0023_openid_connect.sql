CREATE TABLE oidc_logins (
    state bytea PRIMARY KEY,                      -- sha256 of the `state` in the provider's address
    browser bytea NOT NULL,                       -- sha256 of a secret that only the browser has
    nonce text NOT NULL,
    code_verifier text NOT NULL,
    target text NOT NULL,                         -- the page to which the log-in goes on
    account_id bigint REFERENCES accounts ON DELETE CASCADE,  -- it binds the identity to this account; null: it logs in
    address text NOT NULL,                        -- an IPv4 address, or the /64 of an IPv6 address
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE oidc_logins IS
    'A log-in by OpenID Connect that has begun: a browser went to the provider. Its return takes the row out.';
CREATE INDEX oidc_logins_by_expiry ON oidc_logins (expires_at);
CREATE INDEX oidc_logins_of_an_account ON oidc_logins (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX oidc_logins_of_an_address ON oidc_logins (address, expires_at);

ALTER TABLE audit ADD COLUMN address text;
