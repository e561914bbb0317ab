"""The intake: a Redis Stream of deliveries that are not recorded yet."""
