"""The REST API below /api/v1, with which programs of an operator manage tenants and users."""
