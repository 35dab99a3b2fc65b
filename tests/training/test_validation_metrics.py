"""Metrics of hifigan_jax.evaluation in the validation of a run."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from hifigan_jax.cli import main
from hifigan_jax.config import packaged_config
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation.metric import Metric, Value
from hifigan_jax.evaluation.registry import METRICS
from hifigan_jax.training.loop import train
from hifigan_jax.training.validation_metrics import UtteranceMetrics, check_metrics

QUICKSTART = str(packaged_config("quickstart"))


@pytest.fixture
def ratio(monkeypatch):
    """A metric at 100 Hz: `ratio`, shown as a mean, and `square`, as a median; undefined for silence."""

    def measure(reference, synthesized, rate):
        assert (rate, reference.size, reference.dtype) == (100, synthesized.size, np.float32)
        if not reference.any():
            raise DataError("ratio: silent")
        value = float(np.abs(synthesized).max() / np.abs(reference).max())
        return {"ratio": value, "square": value**2}

    values = {"ratio": Value("ratio", "higher"), "square": Value("square", "higher", statistic="median")}
    monkeypatch.setitem(METRICS, "ratio", Metric(measure, values, "mode", "source", "anything", rate=100))


def measured(names, *factors):
    metrics = UtteranceMetrics(names)
    for factor in factors:
        real = np.full(50, 0.1 if factor else 0.0, np.float32)
        metrics.add(real, np.full(48, 0.1 * factor, np.float32), 100)
    return metrics.averages()


def test_values_are_averaged_over_utterances(ratio):
    assert measured(["ratio"], 1, 2, 6) == pytest.approx({"ratio": 3, "square": 4})
    assert measured(["square"], 1, 2) == pytest.approx({"square": 2.5})
    assert measured([], 1) == {}


def test_utterances_that_a_metric_cannot_measure_are_left_out_with_one_warning(ratio, caplog):
    assert measured(["ratio"], 0, 2, 0) == pytest.approx({"ratio": 2, "square": 4})
    assert measured(["ratio"], 0) == {}
    assert [record.getMessage() for record in caplog.records] == ["validation: ratio: silent"] * 2


def test_infinite_values_are_left_out(ratio, monkeypatch):
    infinite = METRICS["ratio"]._replace(measure=lambda *_: {"ratio": math.inf, "square": 1.0})
    monkeypatch.setitem(METRICS, "ratio", infinite)
    assert measured(["ratio"], 1) == {"square": 1.0}


def test_a_package_that_fails_does_not_end_the_run(ratio, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setitem(METRICS, "ratio", METRICS["ratio"]._replace(measure=fail))
    assert measured(["ratio"], 1) == {}
    assert caplog.messages == ["validation: ratio: ZeroDivisionError: by zero"]


def test_validations_are_logged_under_their_names(training_config, run_of):
    run = run_of(training_config.replace({"validation_metrics": ["mr_stft", "mel_l1_full"], "max_steps": 3}), "run", 3)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [row for row in rows if "validation/mel_spec_error" in row]
    assert [row["step"] for row in found] == [0, 3]
    for row in found:
        assert {name for name in row if name.startswith("validation/")} == {
            *("validation/mel_spec_error", "validation/total_seconds", "validation/mr_stft", "validation/mel_l1_full")
        }
        assert math.isfinite(row["validation/mr_stft"])
        assert row["validation/mel_l1_full"] > 0.5  # untrained
    (events,) = (run / "logs").iterdir()
    assert b"validation/mr_stft" in events.read_bytes()


def test_there_are_none_by_default(tiny_config):
    assert tiny_config.run.validation_metrics == ()
    check_metrics(())


def test_a_missing_package_is_named_before_the_first_step(training_config, monkeypatch):
    monkeypatch.setitem(METRICS, "stoi", METRICS["stoi"]._replace(modules=("no_such_module",)))
    message = r"validation_metrics: estoi needs no_such_module, not installed: pip install 'hifigan-jax\[evaluate\]'"
    with pytest.raises(UsageError, match=message):
        train(training_config.replace({"validation_metrics": ["mr_stft", "estoi"]}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('["pesk"]', "validation_metrics: pesk: no such metric"),
        ('["mr_stft", "vuv"]', "did you mean 'vuv_f1'?"),
        ("pesq", "--set validation_metrics: input should be a valid tuple, not 'pesq'"),
    ],
)
def test_an_unknown_metric_is_refused(value, message, capsys):
    assert main(["train", "--config", QUICKSTART, "--set", f"validation_metrics={value}"]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_metric_is_refused_without_jax():
    arguments = ["train", "--config", QUICKSTART, "--set", 'validation_metrics=["pesk"]']
    program = f"import sys\nfrom hifigan_jax.cli import main\nprint(main({arguments!r}), 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "2 False\n"
