"""Reports: pictures, the page's structure and size, errors."""

import base64
import copy
import hashlib
import io
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import report_example
import soundfile
from report_example import HOSTILE_KEY, HOSTILE_SYSTEM, KEYS, RATE

from hifigan_jax.cli import main
from hifigan_jax.cli import report as cli_report
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation import Results, report
from hifigan_jax.evaluation.report import clips, pictures
from hifigan_jax.evaluation.report.page import best

VOID = {"meta", "link", "input", "img"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, speech):
    """The folder of an evaluation, and its results."""
    folder = tmp_path_factory.mktemp("report")
    return folder, report_example.make(folder, speech)


@pytest.fixture
def results(evaluated):
    """A copy of the results."""
    return Results(copy.deepcopy(evaluated[1].data))


class Page(HTMLParser):
    """The elements of a page; fails at tags that are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), "an attribute occurs twice"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(evaluated):
    return report.report(evaluated[1], clips=3).html


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def decoded_png(content):
    """The palette indices and the palette of a PNG file, read by the definition of the format."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, position = {}, 8
    while position < len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        data = content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(name + data)
        chunks[name] = data
        position += 12 + length
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 3, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)


def data_of(uri):
    kind, _, content = uri.partition(";base64,")
    return kind, base64.b64decode(content)


def test_a_png_contains_its_pixels_and_palette(rng):
    pixels = rng.integers(0, 33, (5, 7), np.uint8)
    found, palette = decoded_png(pictures.png(pixels, pictures.MAGMA))
    assert (found == pixels).all()
    assert palette[[0, -1]].tolist() == [[0, 0, 4], [252, 253, 191]]


def test_a_spectrogram_has_low_frequencies_at_the_bottom_and_80_db():
    mel = np.full((10, 4), -20.0)
    mel[:, 0], mel[:, 1], mel[:, 2] = 1.0, 1.0 - np.log(100), 1.0 - np.log(1e4)
    pixels, _ = decoded_png(pictures.spectrogram(mel, 1.0))
    assert (pixels.T == [0, 0, 16, 32]).all()


def test_a_difference_is_signed_and_has_its_own_color_for_none():
    mel = np.zeros((12, 3))
    pixels, palette = decoded_png(pictures.difference(mel + np.array([0, np.log(10), -9]), mel[:10]))
    assert pixels.shape == (3, 10)
    assert (pixels.T == [0, 32, 16]).all()
    assert palette[16].tolist() == [247, 247, 247]
    assert palette[32][0] > palette[32][2]  # more energy is red


def test_long_recordings_are_averaged_to_the_width_of_the_picture():
    mel = np.tile([[0.0], [2.0]], (pictures.COLUMNS, 1))
    pixels, _ = decoded_png(pictures.spectrogram(mel, 1.0))
    assert pixels.shape == (1, pictures.COLUMNS)
    assert (pixels == 32).all()


def test_a_waveform_is_a_line_for_silence_and_full_at_the_peak():
    audio = np.zeros(pictures.COLUMNS * 10, np.float32)
    audio[:10] = np.tile([0.5, -0.5], 5)
    pixels, _ = decoded_png(pictures.waveform(audio, 0.5))
    assert pixels[:, 0].all()
    assert 1 <= pixels[:, 1].sum() <= 2


def test_elements_are_closed_and_identifiers_are_unique(page):
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    referenced = {name for _, attributes in page.elements for name in attributes.get("aria-labelledby", "").split()}
    assert referenced <= set(names)


def test_the_page_needs_no_network(page, html):
    addresses = [attributes[key] for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert len(addresses) == 1 + 3 * (4 + 4 * 2 + 3)  # per clip: audio, waveform and mel of 4 tracks, 3 differences
    assert all(address.startswith("data:") for address in addresses)
    assert "http" not in re.sub(r"http-equiv|base64,[^\"]*", "", html)


def test_the_policy_permits_the_page_s_own_script_and_style(html):
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in html


def test_names_are_escaped(page, html):
    assert page.text.count(HOSTILE_KEY) == 1
    assert HOSTILE_SYSTEM in page.text
    assert "<i>" not in html
    assert "<b " not in html
    assert len(page.all("script")) == 1


def test_images_buttons_and_controls_have_names(page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(button["type"] == "button" for button in page.all("button"))
    assert all(field["type"] in ("radio", "checkbox") or field["aria-label"] for field in page.all("input"))
    assert page.all("html") == [{"lang": "en"}]


def test_the_summary_has_all_systems_and_sortable_headings(page, evaluated):
    _, results = evaluated
    headings = [attributes for attributes in page.all("th") if "aria-sort" in attributes]
    assert [heading["data-direction"] for heading in headings] == ["lower"] * 3
    numbers = {float(cell["data-number"]) for cell in page.all("td") if "data-number" in cell}
    assert {results.mean("mel_l1", name) for name in results.data["systems"]} <= numbers


def test_the_best_system_is_bold_and_anchors_are_not_compared(html):
    (summary,) = re.findall(r'<table id="summary">.*?</table>', html, re.DOTALL)
    rows = [row.split("</tr>")[0] for row in summary.split("<tr>")[2:]]
    assert ["<strong>" in row for row in rows] == [False, False, False, True, False]  # three anchors, good, bad


def test_equal_printed_numbers_are_equally_good():
    assert best({"a": 1.0001, "b": 1.0002, "c": 1.2}, "lower") == {"a", "b"}
    assert best({"a": 1.0001, "b": 1.0002, "c": 1.2}, "higher") == {"c"}
    assert best({}, "higher") == set()


def test_audio_is_the_files_audio(page, evaluated):
    folder, _ = evaluated
    kind, content = data_of(page.all("audio")[0]["src"])
    assert kind == "data:audio/flac"
    expected, _ = soundfile.read(folder / "reference" / f"{KEYS[0]}.flac", dtype="int16")
    audio, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert rate == RATE
    assert (audio == expected).all()


def test_opus_keeps_the_waveform_to_its_end(speech):
    audio, rate = soundfile.read(io.BytesIO(clips.encode(speech, RATE, "opus")), dtype="float32")
    assert rate in (24000, 48000)
    assert audio.size / rate == pytest.approx(speech.size / RATE + 0.01, abs=0.001)
    resampled = clips.resample(speech, RATE, rate)
    for part in (slice(0, resampled.size), slice(resampled.size - rate // 200, resampled.size)):  # all, and the last 5 ms
        assert np.corrcoef(resampled[part], audio[part])[0, 1] > 0.98


def test_twenty_clips_of_three_systems_are_under_20_mb(evaluated, tmp_path, speech):
    """With 5 s per clip, whose FLAC is not smaller than that of usual recordings."""
    _, results = evaluated
    audio = np.tile(speech, 3)[: 5 * RATE]
    paths = [tmp_path / f"{i}.flac" for i in range(20)]
    for i, path in enumerate(paths):
        soundfile.write(path, np.roll(audio, 1000 * i), RATE)
    files = {path.stem: {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in paths}
    data = copy.deepcopy(results.data)
    for entry in (data["reference"], *data["systems"].values()):
        entry |= {"folder": str(tmp_path), "files": files}
    html = report.report(Results(data)).html
    assert html.count("<article") == 20
    assert html.count("<audio") == 80
    assert "data:audio/flac" in html
    assert len(html.encode()) < 20_000_000


def test_a_page_that_flac_makes_too_large_has_opus(results, monkeypatch, caplog):
    monkeypatch.setattr(report, "LARGEST", 50_000)
    html = report.report(results, clips=1).html
    assert "data:audio/ogg" in html
    assert "data:audio/flac" not in html
    assert "Opus" in caplog.text
    assert "data:audio/flac" in report.report(results, clips=1, codec="flac").html


def test_clips_are_spread_over_the_files_that_all_systems_have(results):
    listed = clips.sources(results.data, None, clips.Path())
    assert clips.choose(listed, 3) == [KEYS[0], "d", "f"]
    assert clips.choose(listed, 9) == KEYS
    del listed[2].files["d"]
    assert clips.choose(listed, 9) == [key for key in KEYS if key != "d"]


def test_the_anchors_that_sound_like_the_reference_are_left_out_unless_named(results):
    names = [source.name for source in clips.sources(results.data, None, clips.Path())]
    assert names == [clips.REFERENCE, "griffin_lim", HOSTILE_SYSTEM, "bad"]
    names = [source.name for source in clips.sources(results.data, ["pcm16", "bad"], clips.Path())]
    assert names == [clips.REFERENCE, "pcm16", "bad"]


def test_relative_folders_are_below_the_root(results, evaluated):
    folder, _ = evaluated
    results.data["reference"]["folder"] = "reference"
    assert report.report(results, clips=1, systems=["bad"], root=folder).problems == []
    with pytest.raises(DataError, match=r"^reference: no such folder.*--root$"):
        report.report(results, clips=1, systems=["bad"], root=".")


def test_a_missing_folder_of_a_system_is_one_line(results):
    results.data["systems"]["bad"]["folder"] = "/missing"
    with pytest.raises(DataError, match=r"^/missing: no such folder, but it has the audio of bad.*--root$"):
        report.report(results)


def test_an_unknown_system_has_a_hint(results):
    with pytest.raises(UsageError, match=r"^bat: not a system of these results \(.*\); did you mean 'bad'\?$"):
        report.report(results, systems=["bat"])


def test_missing_and_changed_files_are_left_out_with_one_line_each(results):
    results.data["systems"]["bad"]["files"]["d"]["path"] = "gone.flac"
    results.data["systems"]["bad"]["files"]["e"]["sha256"] = "0"
    results.data["reference"]["files"]["f"]["path"] = "gone too.flac"
    found = report.report(results, systems=["bad"])
    assert found.html.count("<article") == 4
    assert found.html.count("<audio") == 2 * 2 + 2
    assert [re.sub(r".*/", "", problem) for problem in found.problems] == [
        "gone.flac: cannot be decoded: no such file",
        "e.flac: has changed since the evaluation: evaluate again",
        "gone too.flac: cannot be decoded: no such file",
    ]


def test_results_without_a_readable_reference_are_an_error(results):
    for entry in results.data["reference"]["files"].values():
        entry["path"] = "gone.flac"
    with pytest.raises(DataError, match="no such file"):
        report.report(results)


def test_the_program_writes_the_page_beside_the_results(evaluated, capsys):
    folder, _ = evaluated
    assert main(["report", str(folder), "--clips", "1"]) == 0
    assert "report.html (" in capsys.readouterr().err
    assert (folder / "report.html").read_text(encoding="utf-8").count("<article") == 1


def test_a_very_large_page_has_a_warning(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli_report, "LARGEST", 100_000)
    assert main(["report", str(evaluated[0]), "--clips", "1", "--output", str(tmp_path / "page.html")]) == 0
    assert "warning: " in capsys.readouterr().err


def test_the_program_reports_problems_and_returns_3(evaluated, results, tmp_path, capsys):
    results.data["systems"]["bad"]["files"]["d"]["path"] = "gone.flac"
    results.save(tmp_path)
    page = tmp_path / "new" / "page.html"
    assert main(["report", str(tmp_path / "results.json"), "--output", str(page), "--systems", "bad"]) == 3
    assert "gone.flac: cannot be decoded: no such file" in capsys.readouterr().err
    assert page.is_file()


@pytest.mark.parametrize("command", ["report", "table"])
@pytest.mark.parametrize("content", ["{", "[" * 100_000, json.dumps({"schema": 2}), json.dumps({"schema": 1})])
def test_unreadable_results_are_one_line(tmp_path, command, content, capsys):
    (tmp_path / "results.json").write_text(content)
    assert main([command, str(tmp_path)]) == 3
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.glob("*.html")) == []
