"""The sandbox's version of Front's API and OAuth endpoints."""
