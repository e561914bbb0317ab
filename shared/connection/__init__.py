"""A tenant's connection to Front: its grant, sealed tokens and share of the rate limit."""
