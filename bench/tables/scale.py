"""Very much of everything, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.markdown import table

if TYPE_CHECKING:
    from bench.benchmark import Figures


def much(figures: Figures) -> str:
    """The intake, rounds and looks, and the import."""
    intake, users = figures["intake"], figures["import"]
    rows = [
        (
            f"Redis for {intake['deliveries']:,} deliveries of 2,400 random bytes",
            f"{intake['redis_mb']:,} MB",
            f"{intake['redis_to_body_bytes_ratio']} bytes for a byte of body",
        ),
        *(
            (
                f"recording with {intake[f'{where}_depth']:,} waiting",
                f"{intake[f'{where}_drained_per_second']:,} events/s",
                f"{intake[f'{where}_cpu_us_per_event']:,} us of CPU an event",
            )
            for where in ("deep", "shallow")
        ),
        *(
            (
                f"one dispatch round over {each['tenants']:,} tenants, {each['due']:,} due",
                f"{each['best_ms']} ms best",
                f"{each['median_ms']} ms median of 21",
            )
            for each in figures["dispatch_rounds"]
        ),
        *(
            (
                f"one look for stranded actions, {each['waiting']:,} waiting",
                f"{each['best_ms']} ms best",
                f"{each['median_ms']} ms median of 21",
            )
            for each in figures["stranded_looks"]
        ),
        (
            f"`mailroom user import` of {users['users']:,} users with {users['addresses']:,} addresses",
            f"{users['users_per_second']:,} users/s",
            f"{users['memory_mb']} MB in the command",
        ),
    ]
    return table(["what", "measured", ""], rows)
