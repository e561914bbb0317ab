"""Webhooks on their whole way: into rows, and to the change at Front."""
