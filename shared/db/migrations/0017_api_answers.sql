CREATE TABLE api_answers (
    token_id bigint NOT NULL REFERENCES api_tokens ON DELETE CASCADE,
    key text NOT NULL,                            -- the header Idempotency-Key
    request bytea NOT NULL,                       -- sha256 of the request
    answer json,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_id, key)
);
COMMENT ON TABLE api_answers IS
    'An answer of the REST API to a request that created something, kept for a day.';
CREATE INDEX api_answers_by_age ON api_answers (created_at);
