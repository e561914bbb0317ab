"""The hand-over to the host application: notifications that wait for a position, the feed, and the facts of an item."""
