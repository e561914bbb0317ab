"""Runs tasks: one attempt at a time, each under a lease."""
