"""People who log in to the console: their accounts, sessions, and the audit of what they did."""
