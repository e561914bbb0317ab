"""Notifications for the host application: their types, their bodies and the links in them. Pure, but for the clock."""
