"""Changes conversations in Front: each change is sent once, and only if nothing has overruled it."""
