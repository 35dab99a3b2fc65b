"""The documentation fits a screen, is up to date with docs/results, and is written in plain words."""

import ast
import functools
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from hifigan_jax.cli import COMMANDS

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))
import tables  # noqa: E402

PAGES = [*tables.pages(), ROOT / "SECURITY.md"]
SOURCES = sorted([*(ROOT / "hifigan_jax").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
LARGEST = 5 * 1024  # bytes
README_LARGEST = 6656

# A number with the unit of a measurement. Such figures belong in docs/results, from which a script makes the tables.
FIGURE = re.compile(r"(?<![\w.,])\d[\d.,]*(?: to \d[\d.,]*)? ?(?:x|\u00d7|times|ms|s|MB|GB|TB|%)(?!\w)")
# Figures that no JSON contains: bars of the tests, and measurements that the page of decisions cites from git's history.
ALLOWED_FIGURES = {
    "docs/parity.md": {"99.9 %"},
    "docs/decisions.md": {
        *("1.41 to 1.85 times", "1.22 to 0.94 s", "1.15 times", "2.1 times", "0.95 times", "4.6 to 2.3 s", "1.05 times"),
        *("16 s", "40 s", "20 to 100 times", "1.2 to 2.8 times", "15 %", "1.03 times", "1.5 %", "6.5 %"),
        *("0.78 times", "1.10 to 1.16 times", "61 s", "3 %", "3 s", "8 to 10 %"),
    },
}

# Literary or private words, each of which has a plain technical equivalent.
ODD_WORDS = re.compile(
    r"\b(?:speak(?:s|ing)?|spoken?|judge[ds]?|judging|verdicts?|players?|anew|laid|lays?|go(?:es|ing)? on|went on|gone on"
    r"|whole or not|the whole's|at hand|costs? (?:its|no other|that)|made[- ]up|told apart|(?:is|are) told|mend(?:s|ed|ing)?"
    r"|contenders?|in turns|by (?:itself|themselves)|says?|looks? further|passed over|any company|other company"
    r"|stands? (?:in|on|at|here|there|beside))\b",
    re.IGNORECASE,
)
ALLOWED_PHRASES = re.compile(r"pass(?:es|ed)? over the data|stands? in for", re.IGNORECASE)

FENCE = re.compile(r"```bash\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def name(path):
    return path.relative_to(ROOT).as_posix()


def text(path):
    return path.read_text(encoding="utf-8")


def odd_words(content):
    return sorted({match[0].lower() for match in ODD_WORDS.finditer(ALLOWED_PHRASES.sub("", content))})


@functools.cache
def results():
    return tables.load()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_s_tables_are_those_of_docs_results(page):
    """`python benchmarks/tables.py` updates them."""
    assert tables.filled(text(page), results()) == text(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_fits_a_screen_or_two(page):
    assert page.stat().st_size <= (README_LARGEST if name(page) == "README.md" else LARGEST)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_measured_figures_are_in_tables(page):
    prose = " ".join(tables.MARKED.sub("", text(page)).split())  # a figure may be broken across lines
    found = {match[0] for match in FIGURE.finditer(prose)}
    assert found == ALLOWED_FIGURES.get(name(page), set())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_to_a_file(page):
    links = [link for link in LINK.findall(text(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("*.json")), ids=name)
def test_a_result_names_what_made_it(path):
    result = json.loads(text(path))
    assert all(result[key] for key in ("command", "commit", "date"))
    assert result.get("about") or result["cpu"]
    words = shlex.split(result["command"])
    assert words[0] == "hifigan-jax" or (ROOT / words[1]).is_file()
    assert "/tmp" not in result["command"]
    assert "/home" not in result["command"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_in_plain_words(page):
    assert odd_words(text(page)) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_in_plain_words(command):
    parser = importlib.import_module(f"hifigan_jax.cli.{command}").parser(command)
    assert odd_words(parser.format_help() + COMMANDS[command]) == []


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_docstrings_are_in_plain_words(source):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text(source))) if isinstance(node, kinds)]
    found = {getattr(node, "name", "module"): odd_words(ast.get_docstring(node) or "") for node in nodes}
    assert {where: words for where, words in found.items() if words} == {}


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_pages_that_the_code_names_exist(source):
    assert [page for page in re.findall(r"\bdocs/\w[\w-]*\.md", text(source)) if not (ROOT / page).is_file()] == []


def commands(page):
    """The commands in a page's fenced blocks, with continued lines joined."""
    for block in FENCE.findall(text(page)):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition("  #")[0].split(" && "):
                if match := re.search(r"(?:python (?:\w+/)?\w+\.py|hifigan-jax) .*", part):
                    yield match[0].removesuffix(" &")


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands(page)])
def test_a_command_on_a_page_has_arguments_that_its_program_takes(page, command):
    program, *arguments = shlex.split(re.sub(r"\$\(\(.*?\)\)", "1", command).strip().rstrip('"'))
    if program == "python":
        script, *arguments = arguments
        if script.startswith("benchmarks/"):
            assert [flag for flag in arguments if flag.startswith("--") and f'"{flag}"' not in text(ROOT / script)] == []
            return
        arguments = [script.removesuffix(".py"), *arguments]
    importlib.import_module(f"hifigan_jax.cli.{arguments[0]}").parser().parse_args(arguments[1:])


def test_the_readme_has_the_test_command_that_ci_runs():
    assert re.search(r'^pip install "\.\[test\]" && python -m pytest$', text(ROOT / "README.md"), re.MULTILINE)


@pytest.mark.parametrize(
    ("prose", "figures"),
    [
        ("1.5 x faster in 30 ms", ["1.5 x", "30 ms"]),
        ("3 to 4.6 s and 55%", ["3 to 4.6 s", "55%"]),
        ("2.4 GB, 1,200 times", ["2.4 GB", "1,200 times"]),
        ("16 steps at 8 kHz, mel x 45, 80 bins, jax 0.12, 1e-5, V2 models", []),
    ],
)
def test_figures_are_numbers_with_a_unit(prose, figures):
    assert [match[0] for match in FIGURE.finditer(prose)] == figures


def test_odd_words_are_found_as_words_only():
    assert odd_words("Spoken anew; the run goes on") == ["anew", "goes on", "spoken"]
    assert odd_words("a speaker mends nothing") == ["mends"]
    assert odd_words("The speaker's overlay, a layer, in essays, passes over the data") == []
