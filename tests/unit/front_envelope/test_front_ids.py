"""Front's ids, and what only looks like one."""

from __future__ import annotations

import pytest

from shared.errors import FrontRejected
from shared.front.envelope import front_id


@pytest.mark.parametrize("value", ["cnv_18r4w2n0", "fil_2m7c1qkw", "msg_A1", "tag_" + "z" * 64])
def test_front_ids_pass(value: str) -> None:
    assert front_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "cnv_",
        "cnv_1/../../oauth",  # another path
        "cnv_1?x=1",  # a query
        "cnv_1\n",  # `$` would let the line break through
        "alt:email:nora@acme.example",  # an alias carries an address into a path
        "cnv_١",  # a digit that is not ASCII
        "cnv_" + "z" * 65,
        "CNV_1",
        "https://files.example/fil_1",
    ],
)
def test_anything_else_never_enters_a_path(value: str) -> None:
    with pytest.raises(FrontRejected):
        front_id(value)


def test_the_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(FrontRejected) as refused:
        front_id("alt:email:nora@acme.example")
    assert "nora" not in str(refused.value)
