"""Writes docs/results/tests.json from the reports of `.ci/run --all`: results.py 3.11.xml 3.12.xml ... (a Python each)."""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

from hifigan_jax.benchmark import write_results

RESULTS = pathlib.Path(__file__).parents[1] / "docs" / "results" / "tests.json"


def row(report: pathlib.Path) -> dict[str, str | int | float]:
    """How the tests of one Python ended."""
    suite = next(ElementTree.parse(report).iter("testsuite"))
    cases = list(suite.iter("testcase"))
    skips = [skip.get("type") for case in cases for skip in case.findall("skipped")]
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    return {
        "python": report.stem,
        "passed": len(cases) - failed - len(skips),
        "failed": failed,
        "skipped": skips.count("pytest.skip"),
        "expected_failures": skips.count("pytest.xfail"),
        "minutes": round(float(suite.get("time", 0)) / 60, 1),
    }


if __name__ == "__main__":
    write_results(RESULTS, {"command": "bash .ci/run --all", "rows": [row(pathlib.Path(path)) for path in sys.argv[1:]]})
