"""The benchmark of the whole way: from the webhook to the row, and to the change at Front."""
