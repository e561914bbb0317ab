"""The recorder's statements and rows, and the spool."""
