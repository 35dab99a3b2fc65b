"""A demo in headless Chromium; chromium.py lists what it needs."""

import base64
import os
import pathlib
import re
import shutil
import time

import chromium
import numpy as np
import pytest
from chromium import LISTEN, element, result, served, status, use, wait

from hifigan_jax.audio import read_audio_at, write_wav
from hifigan_jax.export.demo import runtime, write_demo
from hifigan_jax.loading import load_generator
from hifigan_jax.synthesis import Vocoder

pytestmark = [
    pytest.mark.slow,
    *(pytest.mark.skipif(missing, reason=f"needs {what}") for what, missing in chromium.MISSING.items()),
]

ROOT = pathlib.Path(__file__).parent.parent.parent
SPEECH = sorted((ROOT / "samples").glob("*.flac"))[0]
V2 = ROOT.parent / "shared" / "weights" / "generator_v2_ljspeech.pth"
# How many different values the pixels of each picture have.
VALUES = """
const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return [...document.querySelectorAll("canvas")].map((canvas) => new Set(pixels(canvas)).size);
"""


@pytest.fixture(scope="module")
def package():
    """npm's package onnxruntime-web."""
    folder = chromium.onnxruntime_web()
    if folder is None:
        pytest.skip("needs onnxruntime-web: set ONNXRUNTIME_WEB to its folder, or install npm and permit it to download")
    return folder


@pytest.fixture(scope="module")
def generator():
    """V2 if its weights are there, else the pretrained V1."""
    return load_generator(V2 if V2.is_file() else "universal_v1")


@pytest.fixture(scope="module")
def site(tmp_path_factory, generator, package, speech):
    folder = tmp_path_factory.mktemp("demo") / "site"
    write_demo(generator, folder, "V2 <b>", runtime_folder=package, sample=speech)
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory, generator):
    """3 s of speech as a file."""
    rate = generator.config.mel.sampling_rate
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    write_wav(path, read_audio_at(SPEECH, rate)[: 3 * rate], rate)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, site):
    """The page as a new visitor sees it. The console must be empty at the end of the test."""
    with served(site) as address:
        browser.get(address)
        browser.execute_script(LISTEN)
        yield browser
        assert browser.get_log("browser") == []


def focused(page):
    return page.switch_to.active_element.get_attribute("id") or page.switch_to.active_element.get_attribute("value")


def test_the_hashes_of_the_linked_runtime_are_those_of_the_npm_package(package):
    assert {name: runtime.PageFile.of(package / "dist", name).integrity for name in runtime.FILES} == runtime.FILES
    assert sum((package / "dist" / name).stat().st_size for name in runtime.FILES) == pytest.approx(runtime.SIZE, rel=0.01)


def test_the_page_computes_what_python_computes(page, speech, generator):
    assert re.fullmatch(r"3\.0 s of audio generated in [\d.]+ s: [\d.]+ x real time, with one thread\.", use(page, speech))
    vocoder = Vocoder(generator.config, generator.params)
    audio = read_audio_at(speech, vocoder.sampling_rate)
    expected = vocoder.decode(vocoder.mel(audio))
    found = result(page)
    assert expected.size == 3 * 22050 // 256 * 256
    assert np.sqrt(np.mean(found**2)) > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert focused(page) == "result-heading"
    assert min(page.execute_script(VALUES)) > 3


@pytest.mark.parametrize("kind", ["isolated", "linked"])
def test_threads_and_a_runtime_of_another_server_work(kind, browser, site, speech, tmp_path):
    isolated = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]
    folder = shutil.copytree(site, tmp_path / "site")
    with served(folder / "runtime", [("Access-Control-Allow-Origin", "*")]) as other:
        if kind == "linked":
            text = (folder / "index.html").read_text(encoding="utf-8")
            (folder / "index.html").write_text(text.replace('"runtime/', f'"{other}'), encoding="utf-8")
        with served(folder, isolated if kind == "isolated" else ()) as address:
            browser.get(address)
            browser.execute_script(LISTEN)
            message = use(browser, speech)
    threads = min(os.cpu_count(), 4) if kind == "isolated" else 1
    assert message.endswith(f"with {threads} threads." if threads > 1 else "with one thread.")
    assert np.sqrt(np.mean(result(browser) ** 2)) > 0.01
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.wav", "This browser cannot read this file as audio. Choose a WAV, MP3, OGG, FLAC or M4A file."),
        ("long.wav", "This recording has 31 seconds. Choose a recording of at most 30 seconds."),
        ("short.wav", "This recording is too short."),
        ("silent.wav", "This recording is silent. Check the microphone or choose another file."),
    ],
)
def test_a_recording_that_cannot_be_used_is_explained(name, message, page, speech, tmp_path, rng):
    noise = rng.uniform(-0.1, 0.1, 31 * 22050).astype(np.float32)
    (tmp_path / "text.wav").write_text("not audio")
    write_wav(tmp_path / "long.wav", noise, 22050)
    write_wav(tmp_path / "short.wav", noise[:300], 22050)
    write_wav(tmp_path / "silent.wav", noise[:22050] * 0, 22050)
    assert use(page, tmp_path / name) == message
    assert element(page, "#status").get_attribute("role") == "status"
    assert not element(page, "#result").is_displayed()
    assert " x real time" in use(page, speech)


def test_a_damaged_graph_is_refused(browser, site, speech, tmp_path):
    folder = shutil.copytree(site, tmp_path / "site")
    content = bytearray((folder / "vocoder.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "vocoder.onnx").write_bytes(content)
    with served(folder) as address:
        browser.get(address)
        message = use(browser, speech)
    assert message.startswith("The model could not be run: http://")
    assert re.search(r"/vocoder\.onnx\?\w{8} cannot be loaded, or is not the expected file\.$", message)
    assert any("integrity" in entry["message"] for entry in browser.get_log("browser"))


def test_stereo_at_another_rate_and_a_dropped_file_are_used(page, tmp_path, speech):
    import soundfile

    audio = read_audio_at(speech, 48000)
    soundfile.write(tmp_path / "stereo.flac", np.stack([audio, 0 * audio], 1), 48000)
    drop = """
    const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "stereo.flac"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    """
    page.execute_script(drop, base64.b64encode((tmp_path / "stereo.flac").read_bytes()).decode())
    found = result(page)
    assert abs(found.size - 3 * 22050) < 512
    recording = page.execute_script("return Math.max(...window.found.recording)")
    assert recording == pytest.approx(read_audio_at(speech, 22050).max() / 2, rel=0.1)  # the mean of both channels


def test_a_recording_of_the_microphone_is_used(page):
    element(page, "#record").click()
    wait(page, lambda: element(page, "#record").text == "Stop recording")
    assert status(page) == "Recording"
    time.sleep(2.5)  # the fake device beeps once a second
    element(page, "#record").click()
    assert result(page).size > 22050
    assert element(page, "#record").text == "Record"
    assert element(page, "#hint").text == "or drop a file anywhere on this page; at most 30 seconds"


def test_the_keyboard_reaches_everything(page):
    from selenium.webdriver import ActionChains, Keys

    press = lambda *keys: ActionChains(page).send_keys(*keys).perform()  # noqa: E731
    order = []
    for _ in range(3):
        press(Keys.TAB)
        order.append(focused(page))
    assert order == ["file", "record", "sample"]
    press(Keys.ENTER)
    result(page)
    wait(page, lambda: focused(page) == "result-heading")
    press(Keys.TAB)
    assert focused(page) == "play"
    press(Keys.SPACE)
    wait(page, lambda: element(page, "#play").text == "Pause")
    wait(page, lambda: float(element(page, "#position").get_property("value")) > 0.2)
    press(Keys.TAB, Keys.TAB)
    press(Keys.ARROW_DOWN)
    at_switch = float(element(page, "#position").get_property("value"))
    assert page.execute_script("return document.querySelector('input[name=track]:checked').value") == "1"
    assert at_switch > 0.2
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert focused(page) == "position"
    press(Keys.HOME)
    assert float(element(page, "#position").get_property("value")) < at_switch


def test_every_control_has_a_label_and_the_page_fits_a_phone(page, speech):
    assert " x real time" in use(page, speech)
    names = page.execute_script(
        "return [...document.querySelectorAll('button, input, canvas, progress')]"
        ".map(e => e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim())"
    )
    assert len(names) == 12
    assert all(names)
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(width=360, height=740, deviceScaleFactor=2, mobile=True))
    try:
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        sizes = page.execute_script("return [...document.querySelectorAll('button, fieldset label')].map(e => e.offsetHeight)")
        assert min(sizes) >= 44  # pixels, for fingers
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
