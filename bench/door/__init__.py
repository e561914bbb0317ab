"""The benchmark of the door, beside other doors on the same machine in the same minutes."""
