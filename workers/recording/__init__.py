"""From the intake to rows."""
