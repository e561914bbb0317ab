"""A tenant's connection to Front: its grant, its encrypted tokens, and its company's rate limit."""
