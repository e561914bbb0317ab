"""The same door as people write it with other tools: what ours is held against. Each does the same checks."""
