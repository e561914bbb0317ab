"""Tenants, their connections and consent, and how their data ends."""
