"""Sends notifications to the endpoints of the host application."""
