"""How fast the door is, beside others on the same machine in the same minutes."""
