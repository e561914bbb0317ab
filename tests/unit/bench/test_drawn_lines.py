"""Lines over time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.drawn import lines

SVG = "{http://www.w3.org/2000/svg}"


def test_the_highest_value_is_at_the_top_and_zero_at_the_bottom() -> None:
    root = ElementTree.fromstring(lines("t", "MB", [0.0, 10.0], {"a": [0.0, 50.0], "b": [100.0, 100.0]}))
    rising, level = (each.attrib["points"].split() for each in root.iter(f"{SVG}polyline"))
    heights = [float(point.split(",")[1]) for point in (*rising, level[0])]
    assert heights == pytest.approx([220.0, 130.0, 40.0])


def test_each_line_has_its_name_and_its_last_value() -> None:
    texts = [
        each.text
        for each in ElementTree.fromstring(lines("t", "MB", [0.0, 1.0], {"web": [1.0, 2.0]})).iter(f"{SVG}text")
    ]
    assert {"web", "2 MB", "0 s", "1 s"} <= set(texts)
