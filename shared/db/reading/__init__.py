"""Queries for the people who operate Mailroom: lists, details and figures. They change no rows."""
