"""The tests, in folders by their cost: unit, integration and acceptance."""
