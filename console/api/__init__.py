"""The REST API below /api/v1: users and tenants for the programs of whoever runs Mailroom."""
