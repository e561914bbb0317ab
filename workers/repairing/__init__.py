"""Finds what no webhook brought, in Front's own list of events."""
