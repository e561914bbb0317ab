"""Ask Prometheus's own tool: whether metrics are sound, and which of our alerts fire on given series."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RULES = Path(__file__).parents[1] / "deploy" / "monitoring" / "alerts.yml"


def run_promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with this text as standard input."""
    line = [find_program("promtool", package="prometheus"), *arguments]
    return subprocess.run(line, input=text, capture_output=True, text=True, check=False)


def check_metrics(text: str) -> str:
    """Return what the tool finds wrong with metrics."""
    ran = run_promtool("check", "metrics", text=text)
    return ran.stdout + ran.stderr


def assert_firing(
    series: Mapping[str, str], expected: Iterable[str], *, at: int, since: int = 0, only: str = ".+"
) -> None:
    """Check that exactly these alerts fire between the minutes `since` and `at`, of those whose names match `only`.

    The values of each series are in the notation of promtool, one a minute.
    """
    query = f'group by (alertname) (count_over_time(ALERTS{{alertstate="firing", alertname=~"{only}"}}[{at - since}m]))'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(set(expected))]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{at}m", "exp_samples": samples}],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alerts.test.yml"
        path.write_text(yaml.safe_dump(document))
        ran = run_promtool("test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
