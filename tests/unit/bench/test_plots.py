"""Bars."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.drawn import Bar, bars


def test_a_bar_is_as_long_as_its_value() -> None:
    root = ElementTree.fromstring(bars("t", "ms", [Bar(label="a", value=50.0), Bar(label="b", value=100.0)]))
    first, second = (float(each.attrib["width"]) for each in root.iter("{http://www.w3.org/2000/svg}rect"))
    assert second == pytest.approx(2 * first)


def test_a_limit_beyond_all_values_is_on_the_drawing() -> None:
    text = bars("t", "ms", [Bar(label="a", value=1.0, limit=100.0)])
    [line] = ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}line")
    assert float(line.attrib["x1"]) == pytest.approx(230 + 360)
