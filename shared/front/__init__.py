"""Front's API, OAuth and webhooks: no other code knows their wire formats."""
