"""Runs benchmarks and says where and when, without which a figure means nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.catalogue import catalogue
from bench.machine import machine
from bench.promises import judged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.benchmark import Figures

#: Takes the name of a benchmark for all of them, one after the other.
ALL = "all"


def measured(name: str, *, quick: bool) -> Figures:
    """One benchmark's result, with what was promised of it."""
    at, on = datetime.now(UTC).isoformat(timespec="seconds"), machine()
    figures = {"name": name, "quick": quick, "at": at, **catalogue()[name].do(quick=quick)}
    load_after = [round(load, 2) for load in os.getloadavg()]
    return {**figures, "promises": judged(figures), "machine": on | {"load_average_after": load_after}}


def together(results: Iterable[Figures]) -> Figures:
    """Several results as one: what was promised first, then each by its name."""
    named = {figures["name"]: figures for figures in results}
    return {
        "name": ALL,
        "promises": [promise for figures in named.values() for promise in figures["promises"]],
        "broken": [f"{name}: {what}" for name, figures in named.items() for what in figures["broken"]],
        **named,
    }
