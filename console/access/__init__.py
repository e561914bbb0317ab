"""Rights in the console: roles, passwords, and the actor who asks for a change."""
