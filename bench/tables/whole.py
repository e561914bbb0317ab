"""What all results say together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.markdown import table
from bench.promises import judged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.benchmark import Figures


def promises(kept: Mapping[str, Figures]) -> str:
    """What was promised and what is."""
    return table(
        ["measured by", "what", "promised", "measured", "kept"],
        (
            [
                f"`./run bench {name}`",
                each["what"],
                each["promised"],
                each["measured"],
                "yes" if each["kept"] else "**no**",
            ]
            for name, figures in kept.items()
            for each in judged(figures)
        ),
    )


def machine(figures: Figures) -> str:
    """What it was measured on."""
    on = figures["machine"]
    return (
        f"{on['cores']} cores of an {on['cpu']}, {on['memory_gb']} GB, {on['kernel']}, Python {on['python']};"
        f" {_versions(on['packages'])}. The others: {_versions(on['peers'])} on Node.js {on['node'].removeprefix('v')}."
    )


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())
