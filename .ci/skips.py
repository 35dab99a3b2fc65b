"""Lists the tests that a run skipped: skips.py PYTHON REPORT.xml. Exits with 1 if one is not expected, or if there is no report.

skips.txt holds a line for each that is: Python, test or file, and how the reason begins.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def skipped(report: str) -> list[tuple[str, str]]:
    """(test, reason) of all skipped tests; expected failures are none."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        for skip in case.findall("skipped"):
            if skip.get("type") == "pytest.skip":
                found.append((f"{case.get('classname')}::{case.get('name')}", skip.get("message", "")))
    return found


def main(python: str, report: str) -> int:
    """Prints a line for each; returns the exit code."""
    lines = pathlib.Path(__file__).with_name("skips.txt").read_text(encoding="utf-8").splitlines()
    expected = [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]
    if not pathlib.Path(report).is_file():
        print(f"Python {python}: no report of the tests")
        return 1
    unexpected = 0
    for test, reason in skipped(report):
        known = any(python == version and test.startswith(of) and reason.startswith(start) for version, of, start in expected)
        missing = " (../shared is missing or lacks them)" if "../shared" in reason else ""
        print(f"Python {python}: {'skipped' if known else 'UNEXPECTED SKIP'}: {test}: {reason}{missing}")
        unexpected += not known
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
