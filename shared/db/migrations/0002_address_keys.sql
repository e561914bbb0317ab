-- `mailroom migrate` gives the stored addresses their new keys afterwards, because keys are computed in Python
-- (shared/db/users/users.py).

COMMENT ON COLUMN user_addresses.address IS
    'The key by which recipients are matched: `match_key` of `as_given`, with the domain in A-labels.';
COMMENT ON COLUMN inbox_addresses.address IS
    'The key by which recipients are matched, as in `user_addresses`.';
