"""Changes of conversations in Front: sent once, and only if nothing else decided otherwise."""
