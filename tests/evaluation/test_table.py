"""The table of a paper, from small results made by hand."""

import copy
import json

import numpy as np
import pytest

from hifigan_jax.cli import main
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.errors import CheckpointError, DataError, UsageError
from hifigan_jax.evaluation import Results, model_facts
from hifigan_jax.evaluation.table import Cell, Column, Row, Table, caption_of, cited_rows, columns_of, combine, rows_of
from hifigan_jax.evaluation.table_formats import best, comma_separated, decimals, latex, markdown

FILES = {"a": {"path": "a.flac", "sha256": "1" * 64, "seconds": 2.0}, "b": {"path": "b.flac", "sha256": "2" * 64, "seconds": 3.0}}


def described(label, direction, statistic="mean", packages=None):
    return {
        "label": label,
        "direction": direction,
        "statistic": statistic,
        "packages": packages or {"pesq": "0.0.4"},
        "mode": "wideband",
        "rate": 16000,
        "cannot_separate": "anything",
    }


def system(kind, **means):
    """A system whose intervals are its means -0.1 and +0.1."""
    summary = {
        value: {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "median": mean + 1, "count": 2}
        for value, mean in means.items()
    }
    facts = {"kind": kind, "source": "x", "sha256": "abc", "folder": "x", "count": 2, "files": FILES}
    return {**facts, "summary": summary, "difference": {}}


@pytest.fixture
def data():
    return {
        "schema": 1,
        "reference": {"folder": "recordings", "rate": 22050, "count": 2, "seconds": 5.0, "files": FILES},
        "treatment": {},
        "mel": {},
        "bootstrap": {"method": "bootstrap-t", "level": 0.95, "resamples": 10, "seed": 0},
        "baseline": None,
        "metrics": {
            "pesq": described("PESQ", "higher"),
            "f0_rmse": described("F0 RMSE (cents)", "lower", "median", {"torchcrepe": "0.0.24"}),
        },
        "systems": {
            "ground_truth": system("anchor", pesq=4.6, f0_rmse=-1.0),
            "griffin_lim": system("anchor", pesq=3.0, f0_rmse=150.04),
            "v1_a": system("model", pesq=3.25, f0_rmse=200.0),
            "mine": system("folder", pesq=3.5),
        },
        "problems": [],
    }


def made(data, intervals=False, facts=None, cited=()):
    evaluation = combine([Results(data)])
    rows = rows_of(evaluation, facts or {}, intervals) + tuple(cited)
    columns = columns_of(evaluation, ["pesq", "f0_rmse", *(["parameters"] if facts else [])])
    return Table(columns, rows, caption_of(evaluation, columns, rows))


FACTS = {"v1_a": {"parameters": 13_926_017}}
CITED = [Row("WaveGlow", "cited", {"pesq": Cell(4.9), "parameters": Cell(87_879_272)}, "Prenger & al.")]


def test_markdown_sets_groups_apart_and_the_best_system_in_bold(data):
    assert markdown(made(data, facts=FACTS, cited=CITED)) == (
        "| system | PESQ ↑ | F0 RMSE (cents) ↓ | parameters (M) ↓ |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| *anchors* |  |  |  |\n"
        "| ground_truth | 4.600 | 0.0 | - |\n"
        "| griffin_lim | 3.000 | 151.0 | - |\n"
        "| *systems* |  |  |  |\n"
        "| v1_a | 3.250 | 201.0 | 13.93 |\n"
        "| mine | **3.500** | - | - |\n"
        "| *cited* |  |  |  |\n"
        "| WaveGlow (Prenger & al.) | 4.900 | - | 87.88 |\n"
        "\n"
        "Means over 2 recordings (5 s); medians of F0 RMSE (cents). Bold: the best of the measured systems. Cited values were"
        " measured by others, on other recordings. Computed with pesq 0.0.4, torchcrepe 0.0.24.\n"
    )


def test_latex_is_escaped_and_has_rules_between_groups(data):
    assert latex(made(data, intervals=True, cited=CITED)) == (
        "\\begin{table}\n"
        "  \\centering\n"
        "  \\caption{Means over 2 recordings (5 s); medians of F0 RMSE (cents). In brackets: 95\\% confidence intervals,"
        " bootstrap over recordings. Bold: the best of the measured systems. Cited values were measured by others, on other"
        " recordings. Computed with pesq 0.0.4, torchcrepe 0.0.24.}\n"
        "  \\begin{tabular}{lrr}\n"
        "    \\toprule\n"
        "    system & PESQ $\\uparrow$ & F0 RMSE (cents) $\\downarrow$ \\\\\n"
        "    \\midrule\n"
        "    ground\\_truth & 4.600 [4.500, 4.700] & 0.0 \\\\\n"
        "    griffin\\_lim & 3.000 [2.900, 3.100] & 151.0 \\\\\n"
        "    \\midrule\n"
        "    v1\\_a & 3.250 [3.150, 3.350] & 201.0 \\\\\n"
        "    mine & \\textbf{3.500} [3.400, 3.600] & -- \\\\\n"
        "    \\midrule\n"
        "    WaveGlow (Prenger \\& al.) & 4.900 & -- \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def test_csv_has_all_digits_and_plain_units(data):
    for name in ("griffin_lim", "mine"):
        del data["systems"][name]
    data["systems"]["v1_a"]["summary"]["pesq"] |= {"mean": 3.0625, "low": 3.0, "high": 3.125}
    data["systems"]["ground_truth"]["summary"]["pesq"] |= {"low": None, "high": None}
    assert comma_separated(made(data, intervals=True, facts=FACTS, cited=CITED)) == (
        "system,group,source,pesq,pesq_low,pesq_high,f0_rmse,parameters\n"
        "ground_truth,anchor,,4.6,,,0.0,\n"
        "v1_a,system,,3.0625,3.0,3.125,201.0,13926017\n"
        "WaveGlow,cited,Prenger & al.,4.9,,,,87879272\n"
    )


def test_a_single_group_has_no_title_and_a_single_system_no_bold(data):
    data["systems"] = {"v1|a": system("folder", pesq=3.25)}
    text = markdown(made(data))
    assert text.splitlines()[2] == "| v1\\|a | 3.250 | - |"
    assert "old" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\\b", r"a\textbackslash{}b"),
        ("[x]^~", r"{[}x]\textasciicircum{}\textasciitilde{}"),
        ("{50 %}", r"\{50 \%\}"),
        ('<"|">', r"\textless{}''\textbar{}''\textgreater{}"),
    ],
)
def test_latex_has_no_character_with_a_meaning(name, shown):
    table = Table((Column("c", "C", "higher"),), (Row(name, "system", {"c": Cell(1.0)}),), "")
    assert f"    {shown} & 1.000 \\\\\n" in latex(table)


def rows(*values, group="system"):
    return tuple(Row(str(value), group, {} if value is None else {"c": Cell(value)}) for value in values)


@pytest.mark.parametrize(("largest", "places"), [(0.001, 3), (-9.9, 3), (10.0, 2), (99.0, 2), (100.0, 1), (1e4, 0)])
def test_a_column_has_the_same_decimals_in_all_rows(largest, places):
    assert decimals(Column("c", "C", "lower"), rows(0.5, None, largest)) == places


def test_what_looks_equally_good_is_all_in_bold_and_only_systems_compete():
    systems = rows(1.0, 1.0004, None, 2.0)
    for direction, expected in (("lower", {0, 1}), ("higher", {3})):
        assert best(Column("c", "C", direction), systems + rows(0.0, 9.0, group="cited")) == expected
    assert best(Column("c", "C", "lower"), rows(1.0, None)) == set()


def test_results_with_other_metrics_of_the_same_systems_are_combined(data):
    other = copy.deepcopy(data)
    other["metrics"] = {"stoi": described("STOI", "higher")}
    other["systems"] = {"mine": system("folder", stoi=0.9), "other": system("folder", stoi=0.8)}
    evaluation = combine([Results(data), Results(other)])
    assert [*evaluation.metrics] == ["pesq", "f0_rmse", "stoi"]
    assert [*evaluation.systems] == [*data["systems"], "other"]
    assert {value: one["mean"] for value, one in evaluation.systems["mine"]["summary"].items()} == {"pesq": 3.5, "stoi": 0.9}


OTHER_FILES = {"a": {**FILES["a"], "sha256": "3" * 64}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("reference", "files"), OTHER_FILES, "the results are of different recordings"),
        (("metrics", "pesq", "mode"), "narrowband", "pesq: the results differ in its mode: wideband and narrowband"),
        (
            ("metrics", "pesq", "packages"),
            {"pesq": "0.0.5"},
            "pesq: the results are of different versions of pesq: 0.0.4 and 0.0.5",
        ),
        (("systems", "mine", "files"), OTHER_FILES, "mine: the results contain two systems of this name"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(data, path, value, message):
    other = copy.deepcopy(data)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UsageError, match=message):
        combine([Results(data), Results(other)])


def test_a_value_that_fewer_files_have_is_noted(data):
    data["systems"]["mine"]["summary"]["pesq"]["count"] = 1
    assert ". PESQ of mine: 1 of 2 recordings." in made(data).caption


def test_an_unknown_column_gets_a_hint(data):
    with pytest.raises(UsageError, match=r"parametres: no such column \(pesq, .*\); did you mean 'parameters'"):
        columns_of(combine([Results(data)]), ["parametres"])


def test_a_system_with_fewer_files_is_noted(data):
    data["systems"]["mine"]["count"] = 1
    assert ". mine: 1 of 2 recordings." in made(data).caption


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ({}, "expected a list"),
        ([{"name": "x", "values": {}}], "entry 1: expected an object with the keys name, source and values"),
        ([{"name": "x", "source": " ", "values": {}}], "entry 1: source: expected text, not ' '"),
        ([{"name": "x", "source": "y", "values": {"pesk": 3}}], "entry 1: pesk: no such column .*did you mean 'pesq'"),
        ([{"name": "x", "source": "y", "values": {"pesq": "3"}}], "entry 1: pesq: expected a number, not '3'"),
        ([{"name": "x", "source": "y", "values": {"pesq": float("nan")}}], "entry 1: pesq: expected a number, not nan"),
        ([{"name": "x", "source": "y", "values": {"pesq": 10**400}}], "entry 1: pesq: expected a number, not 1000"),
        ("[" * 100_000, "cannot be read"),
        ([{"name": "x", "source": "y", "values": []}], "entry 1: values: expected an object"),
    ],
)
def test_a_bad_list_of_cited_rows_gets_one_line(content, message, tmp_path):
    path = tmp_path / "cited.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message):
        cited_rows(path, ["pesq"])


def run(tmp_path, data, *flags):
    values = {value: {name: {} for name in data["systems"]} for value in data["metrics"]}
    Results(data | {"values": values}).save(tmp_path / "results")
    return main(["table", str(tmp_path / "results"), *flags])


def test_the_command_prints_or_writes_the_table_without_loading_models(tmp_path, data, capsys):
    assert run(tmp_path, data, "--columns", "pesq", "--format", "csv") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["system,group,source,pesq", "ground_truth,anchor,,4.6"]
    assert err.startswith("Means over 2 recordings")
    assert run(tmp_path, data, "--columns", "pesq", "--output", str(tmp_path / "deep" / "table.md")) == 0
    assert (tmp_path / "deep" / "table.md").read_text().startswith("| system | PESQ ↑ |\n")
    assert capsys.readouterr().out == ""


def test_cited_rows_come_last(tmp_path, data, capsys):
    path = tmp_path / "cited.json"
    path.write_text(json.dumps([{"name": "WaveGlow", "source": "Prenger 2019", "values": {"pesq": 3, "macs": 1e12}}]))
    assert run(tmp_path, data, "--columns", "pesq", "--cited", str(path)) == 0
    assert "| *cited* |  |\n| WaveGlow (Prenger 2019) | 3.000 |\n" in capsys.readouterr().out


@pytest.fixture
def generator(tiny_config, monkeypatch):
    """The model that load_generator returns for every source."""
    from hifigan_jax.benchmark import random_params
    from hifigan_jax.evaluation.systems import model_digest
    from hifigan_jax.loading import Generator

    loaded = Generator(tiny_config, random_params(tiny_config), "tiny.pth")
    monkeypatch.setattr("hifigan_jax.loading.load_generator", lambda source: loaded)
    return loaded, model_digest(loaded.params, loaded.config)


def test_models_have_their_size_and_speed_and_others_a_dash(tmp_path, data, generator, monkeypatch, capsys):
    data["systems"]["v1_a"]["sha256"] = generator[1]
    monkeypatch.setattr(model_facts, "FRAMES", 8)
    assert run(tmp_path, data, "--columns", "parameters", "macs", "--speed") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| system | parameters (M) ↓ | GMAC per s of audio ↓ | x real time, CPU ↑ |"
    assert lines[6].startswith("| v1_a | 0.0")
    assert lines[7] == "| mine | - | - | - |"
    assert "x real time: one utterance of 8 frames, median of 9 calls, float32, jax " in lines[-1]
    assert " threads." in lines[-1]


def test_another_model_at_the_place_of_the_evaluated_one_is_not_counted(tmp_path, data, generator, capsys):
    assert run(tmp_path, data) == 4
    out, err = capsys.readouterr()
    assert out.startswith("| system | PESQ ↑ | F0 RMSE (cents) ↓ |\n")
    assert err == "error: v1_a: x is not the model that was evaluated: evaluate again\n"


def test_a_missing_checkpoint_leaves_a_dash(tmp_path, data, monkeypatch, capsys):
    def missing(source):
        raise CheckpointError(f"{source}: no such file")

    monkeypatch.setattr("hifigan_jax.loading.load_generator", missing)
    assert run(tmp_path, data, "--columns", "pesq", "parameters") == 4
    out, err = capsys.readouterr()
    assert "| v1_a | 3.250 | - |" in out
    assert err == "error: v1_a: x: no such file\n"


@pytest.mark.parametrize(("name", "millions"), [("config_v1", 13.92), ("config_v2", 0.92), ("config_v3", 1.46)])
def test_parameters_are_those_of_the_paper(name, millions):
    """Kong et al. 2020, table 1, where they are rounded down."""
    from hifigan_jax.benchmark import random_params

    assert 0 <= model_facts.parameters(random_params(load_config(packaged_config(name)))) / 1e6 - millions < 0.01


def test_macs_of_one_transposed_convolution_by_hand(tiny_config):
    """Per frame: conv_pre, ups, two resblock convolutions over 256 samples, conv_post."""
    config = tiny_config.replace(
        {
            "upsample_rates": (256,),
            "upsample_kernel_sizes": (256,),
            "upsample_initial_channel": 2,
            "resblock_kernel_sizes": (3,),
            "resblock_dilation_sizes": ((1, 1),),
        }
    )
    taps = 7 * 80 * 2 + 256 * 2 * 1 + 256 * (2 * 3) + 256 * 7
    assert model_facts.macs(config) == pytest.approx(taps * 22050 / 256)


def test_parameters_do_not_include_gains():
    params = {"conv": {"g": np.zeros(3), "v": np.zeros((2, 3)), "bias": np.zeros(3)}}
    assert model_facts.parameters(params) == 9
