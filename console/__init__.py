"""The operator's side of Mailroom: command line, web pages and REST API."""
