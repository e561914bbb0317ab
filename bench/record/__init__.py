"""The benchmark of the recorder: how fast the intake becomes rows."""
