"""The control API under `/sandbox`, for tests and demos on this machine."""
