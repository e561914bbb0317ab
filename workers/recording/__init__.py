"""Records deliveries: takes them from the intake and the spool, and writes their rows."""
