"""The tests, by cost: unit, integration, acceptance."""
