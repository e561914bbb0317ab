"""The peers: the same work with other tools, as their documentation advises, with the same checks."""
