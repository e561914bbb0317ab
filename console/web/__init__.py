"""The console's server: pages for people, and the REST API."""
