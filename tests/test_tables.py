"""The tables of the documentation are made from results as they should be."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import scaling
import tables

MADE = {
    "command": "python benchmarks/x.py",
    "commit": "abc1234",
    "date": "2026-01-02",
    "about": "CPU, 2 threads, Python 3.12.1, jax 1",
}


def row(system, median, dtype="float32", config="config_v1", versions=None):
    shared = {"config": config, "audio_seconds": 4.0, "flops": 1e9}
    return {**shared, "system": system, "dtype": dtype, "median": median, "versions": versions or {"x": "1"}}


SYNTHESIS = {
    **MADE,
    "cpu": "CPU, 2 threads",
    "batch_size": 1,
    "rows": [
        row("hifigan_jax", 0.5, versions={"jax": "1"}),
        row("torch", 2.0, versions={"torch": "2"}),
        row("openvino", 0.75),
        row("hifigan_jax", 0.25, "bfloat16"),
        row("openvino", 0.2, "bfloat16"),
    ],
}
EXPORTS = [("onnxruntime", "", 0.75), ("onnxruntime", "_own", 0.5), ("openvino", "", 0.25), ("openvino", "_own", 0.5)]
STREAMING = {
    **MADE,
    "rows": {
        "config_v2": {
            "lookahead_frames": 13,
            "lookahead_ms": 150.9,
            "first_sound_ms": {"at once": 17.04, "one by one": 76.2},
            "times_real_time": {"64": 24.0, "complete": 30.0},
            "relative_speed": {"64": 0.8},
        }
    },
}
START = {
    **MADE,
    "audio_seconds": 4,
    "rows": {"config_v1": {"hifigan_jax": {"median": 8.0}, "reference": {"median": 12.0}}},
    "phases": {"config_v1": {"compute": 0.75}},
}


def test_synthesis_compares_with_the_fastest_other_system_of_the_same_dtype():
    assert tables.synthesis(SYNTHESIS).splitlines() == [
        "| model | hifigan_jax | torch | OpenVINO | x real time | best other / ours |",
        "| --- | --- | --- | --- | --- | --- |",
        "| V1, float32 | 500 ms | 2,000 ms | 750 ms | 8 x | 1.5 x |",
        "| V1, bfloat16 | 250 ms |  | 200 ms | 16 x | 0.8 x |",
    ]


def test_exports_are_compared_per_runtime():
    rows = [row(f"{runtime}{own}", seconds) for runtime, own, seconds in EXPORTS]
    assert tables.export({**MADE, "rows": rows}).splitlines()[2:] == [
        "| V1, ONNX Runtime | 500 ms | 750 ms | 1.5 x |",
        "| V1, OpenVINO | 500 ms | 250 ms | 0.5 x |",
    ]


def test_exports_differ_from_decode_by_the_largest_of_all_sizes():
    def figure(largest):
        return {"largest": largest, "rms": largest / 10}

    accuracy = {
        "ONNX Runtime, random weights": {"config_v1": {"1 x 1 frames": figure(1e-6), "3 x 2 frames": figure(2e-6)}},
        "ONNX Runtime, speech": {
            "a": {"float32": figure(1e-5), "float16": figure(1e-3)},
            "b": {"float32": figure(0.5), "float16": figure(0.5)},
        },
        "StableHLO, random weights": {"melgan": {"largest": 3e-6, "samples_that_differ": 0}},
    }
    assert tables.export_accuracy({**MADE, "accuracy": accuracy}).splitlines()[2:] == [
        "| ONNX Runtime, random weights | V1 2.0e-06 |",
        "| ONNX Runtime, speech, float32 | a 1.0e-05 (1.0e-06), b 5.0e-01 (5.0e-02) |",
        "| ONNX Runtime, speech, float16 | a 1.0e-03 (1.0e-04), b 5.0e-01 (5.0e-02) |",
        "| StableHLO, random weights | MelGAN 3.0e-06 |",
        "| StableHLO and the same function, jitted: samples that differ | MelGAN 0 |",
    ]


def test_training_compares_every_dtype_with_torch_in_float32():
    rows = [row("hifigan_jax", 4.0), row("torch", 10.0), row("hifigan_jax", 2.0, "bfloat16")]
    assert tables.training({**MADE, "rows": rows}).splitlines()[2:] == [
        "| V1, float32 | 4 s | 10 s | 2.5 x |",
        "| V1, bfloat16 | 2 s | 10 s | 5 x |",
    ]


def test_streaming_has_a_column_per_model():
    assert tables.streaming(STREAMING).splitlines()[2:] == [
        "| lookahead | 13 frames, 151 ms |",
        "| time to first audio, frames arriving at once | 17 ms |",
        "| time to first audio, frames arriving one by one | 76.2 ms |",
        "| `decode`, x real time | 30 x |",
        "| chunks of 64 frames, x real time (of `decode`) | 24 x (80%) |",
    ]


def test_quality_has_the_means_of_the_main_metrics_and_names_their_packages():
    metric = {"direction": "lower", "statistic": "mean", "mode": "m", "rate": None, "packages": {"x": "1"}}
    summary = {"mean": 1.5, "low": 1.0, "high": 2.0, "median": 1.0, "count": 1}
    systems = {
        name: {"kind": kind, "files": {}, "summary": {value: {**summary, "mean": mean} for value in tables.QUALITY}}
        for name, kind, mean in [
            ("ground_truth", "anchor", 0.0),
            ("pcm16", "anchor", 0.0),
            ("a", "model", 1.5),
            ("b", "folder", 2),
        ]
    }
    result = {
        **MADE,
        "cpu": "CPU",
        "python": "3.11.7",
        "metrics": {value: {**metric, "label": value.upper()} for value in tables.QUALITY},
        "systems": systems,
        "reference": {"files": {}},
        "bootstrap": {"level": 0.95},
    }
    lines = tables.block("quality", {"quality": result}).splitlines()
    assert lines[0].startswith("| system | PESQ ↓ | ESTOI ↓ |")
    assert [line.split(" | ")[:2] for line in lines[2:7]] == [
        *(["| *anchors*", ""], ["| ground_truth", "0.000"]),
        *(["| *systems*", ""], ["| a", "**1.500**"], ["| b", "2.000"]),
    ]
    assert lines[-1] == "CPU, Python 3.11.7, x 1; commit abc1234, 2026-01-02: `python benchmarks/x.py`"


def test_reliability_marks_what_is_missed_and_shows_one_reference_for_a_bar():
    shared = {"target": "5 of 5", "program": "kills.py"}
    rows = [
        {**shared, "bar": "R1", "what": "kills", "figure": "5 of 5", "passed": True},
        {**shared, "bar": "R2", "what": "state", "figure": "4 of 5", "passed": False},
    ]
    assert tables.reliability({**MADE, "rows": rows, "reference": {"R1": {"figure": "0 of 5"}}}).splitlines()[2:] == [
        "| R1 | kills | 5 of 5 | 5 of 5 | 0 of 5 | kills |",
        "| R2 | state | 5 of 5 | **4 of 5** |  | kills |",
    ]


def test_the_overview_takes_the_results_that_there_are():
    text = tables.block("overview", {"synthesis": SYNTHESIS, "start": START})
    assert text.splitlines()[2:] == [
        "| 4.0 s of speech, V1 | 0.5 s | 2 s | 4 x |",
        "| `infer.py`, one recording, V1 | 8 s | 12 s | 1.5 x |",
        "",
        "CPU, 2 threads; float32. Commands and versions: [docs/performance.md](docs/performance.md).",
    ]
    assert tables.block("overview", {}) == "Not measured yet.\n"


def test_a_caption_names_hardware_versions_commit_date_and_command():
    made = "commit abc1234, 2026-01-02: `python benchmarks/x.py`"
    assert tables.caption(START) == f"CPU, 2 threads, Python 3.12.1, jax 1; {made}"
    assert tables.caption(SYNTHESIS) == f"CPU, 2 threads; jax 1; torch 2; x 1; {made}"


def test_a_page_is_filled_between_its_markers_only_and_again_gives_the_same():
    page = "before\n<!-- results: start -->\nstale\n<!-- end -->\nafter\n"
    filled = tables.filled(page, {"start": START})
    assert filled.startswith("before\n<!-- results: start -->\n| one recording of 4 s |")
    assert "| phase of `infer.py` | V1 |\n| --- | --- |\n| compute | 750 ms |\n" in filled
    assert filled.endswith("`\n<!-- end -->\nafter\n")
    assert tables.filled(filled, {"start": START}) == filled
    assert "Not measured yet: docs/results/start.json." in tables.filled(filled, {})


def test_an_unknown_table_is_named():
    with pytest.raises(SystemExit, match="no such table"):
        tables.block("speeds", {})


@pytest.mark.parametrize(
    ("value", "text"), [(0.04567, "0.0457"), (1.0, "1"), (12.34, "12.3"), (999.4, "999"), (1234.5, "1,234"), (0.0, "0")]
)
def test_numbers_have_three_significant_digits_and_no_exponent(value, text):
    assert tables.digits(value) == text


def test_the_median_of_an_even_number_is_the_mean_of_the_middle():
    assert tables.median([4, 1, 3, 2]) == 2.5
    assert tables.median([3, 1, 2]) == 2


def test_the_roofline_s_bytes_come_from_two_batch_sizes():
    step = {"accumulation_steps": 1, "rematerialize": False}
    rows = [
        {**step, "batch_size": 16, "bytes_accessed": 108.0},
        {**step, "batch_size": 16, "bytes_accessed": 150.0, "rematerialize": True},
        {**step, "batch_size": 8, "bytes_accessed": 60.0},
    ]
    assert scaling.step_bytes(rows) == (12.0, 6.0)
