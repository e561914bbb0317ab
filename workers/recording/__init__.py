"""From the inbox to rows."""
