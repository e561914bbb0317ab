"""Lets `python -m console` stand for the `mailroom` command."""

from __future__ import annotations

from console.cli import main

main(prog_name="mailroom")
