"""Who may do what in the console: roles, passwords, sessions, and the guard of state changes."""
