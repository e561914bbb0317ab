"""What people look at: counts, lists and single events, never changing anything."""
