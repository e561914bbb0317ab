"""Very many webhooks that wait behind the door, and how long it takes until all is done at Front."""
