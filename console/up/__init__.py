"""Run all of Mailroom on one machine: `mailroom up`."""
