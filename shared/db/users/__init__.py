"""Users of tenants, the addresses they are matched by, and how they come in."""
