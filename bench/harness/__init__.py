"""What measurements and acceptance tests start, tell and watch."""
