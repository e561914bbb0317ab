"""Attempts at tasks: run, retried, and held back during an outage."""
