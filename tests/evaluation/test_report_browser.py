"""Reports in headless Chromium: `apt-get install chromium chromium-driver`, `pip install selenium`."""

import contextlib
import csv
import importlib.util
import shutil
import time

import pytest
import report_example
from report_example import HOSTILE_SYSTEM, KEYS

from hifigan_jax.evaluation import report

with contextlib.suppress(ImportError):
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="needs selenium: pip install selenium"),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"),
]

# Records the starts of tracks (their time and the position in the audio) and the gains of tracks.
RECORD = """
window.starts = [];
window.gains = [];
window.GainNode = class extends GainNode {
  constructor(...options) {
    super(...options);
    window.gains.push(this.gain);
  }
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  window.starts.push([when, offset]);
  start.call(this, when, offset);
};
"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1300,1000", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def example(tmp_path_factory, speech):
    return report_example.make(tmp_path_factory.mktemp("evaluation"), speech)


@pytest.fixture(scope="module")
def address(tmp_path_factory, example):
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(report.report(example).html, encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def page(browser, address):
    """The page as a new visitor sees it. The console must be empty at the end of the test."""
    browser.get(address)
    browser.execute_script("localStorage.clear();")
    browser.refresh()
    browser.execute_script(RECORD)
    yield browser
    assert browser.get_log("browser") == []


def element(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def elements(page, selector):
    return page.find_elements(By.CSS_SELECTOR, selector)


def position(page, slider="#clip-0 .position"):
    return float(element(page, slider).get_property("value"))


def press(page, *keys):
    chain = webdriver.ActionChains(page)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def systems_in_order(page):
    return [heading.text for heading in elements(page, "#summary tbody th")]


def numbers_in_order(page):
    return [float(cell.get_attribute("data-number")) for cell in elements(page, "#summary td:nth-child(2)")]


def chosen_track(page):
    return page.execute_script("return document.querySelector('#clip-0 input[type=radio]:checked').value")


def test_the_page_loads_without_console_messages_and_shows_all_clips(page):
    assert [key.text for key in elements(page, ".clip .key")] == KEYS
    assert page.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 0 && i.clientHeight > 50)")
    assert not element(page, "audio").is_displayed()
    assert element(page, "#status").text == ""


def test_a_heading_sorts_best_first_and_then_worst_first(page):
    system, mel, _ = elements(page, "#summary .sort")
    mel.click()
    order, numbers = systems_in_order(page), numbers_in_order(page)
    assert numbers == sorted(numbers)
    assert order.index("ground_truth") < order.index(HOSTILE_SYSTEM) < order.index("bad")
    mel.click()
    assert numbers_in_order(page) == numbers[::-1]
    assert systems_in_order(page).index("bad") < systems_in_order(page).index(HOSTILE_SYSTEM)
    heading = elements(page, "#summary thead th")[1]
    assert heading.get_attribute("aria-sort") == "descending"
    system.click()
    assert systems_in_order(page) == sorted(systems_in_order(page), key=str.lower)
    assert heading.get_attribute("aria-sort") == "none"


def test_switching_keeps_the_position(page):
    element(page, "#clip-0 .play").click()
    wait(lambda: position(page) > 0.3)
    elements(page, "#clip-0 input[type=radio]")[2].click()
    at_switch = position(page)
    time.sleep(0.2)
    assert at_switch >= 0.3
    assert at_switch + 0.1 < position(page) < at_switch + 1
    starts = page.execute_script("return window.starts")
    assert len(starts) == 4  # nothing was started again
    assert starts == [starts[0]] * 4
    assert page.execute_script("return window.gains.map(gain => gain.value)") == pytest.approx([0, 0, 1, 0], abs=1e-3)
    assert element(page, "#clip-0 .play").text == "Pause"
    element(page, "#clip-0 .play").click()
    paused = position(page)
    time.sleep(0.1)
    assert position(page) == paused


def test_opus_plays(browser, example, tmp_path):
    path = tmp_path / "opus.html"
    path.write_text(report.report(example, clips=1, codec="opus").html, encoding="utf-8")
    browser.get(path.as_uri())
    element(browser, "#clip-0 .play").click()
    wait(lambda: position(browser) > 0)
    assert browser.get_log("browser") == []


def test_a_clip_ends_at_its_start(page):
    page.execute_script(
        "const s = arguments[0]; s.value = 1.8; s.dispatchEvent(new Event('input'))", element(page, "#clip-0 .position")
    )
    element(page, "#clip-0 .play").click()
    wait(lambda: element(page, "#clip-0 .play").text == "Pause")
    wait(lambda: element(page, "#clip-0 .play").text == "Play")
    assert position(page) == 0


def test_another_clip_stops_the_first(page):
    element(page, "#clip-0 .play").click()
    wait(lambda: position(page) > 0)
    element(page, "#clip-1 .play").click()
    wait(lambda: position(page, "#clip-1 .position") > 0)
    assert element(page, "#clip-0 .play").text == "Play"


def test_a_click_on_a_picture_sets_the_position(page):
    element(page, "#clip-0 .mel").click()  # in its center
    assert position(page) == pytest.approx(1, abs=0.02)


def test_keys_play_switch_skip_and_change_the_clip(page):
    press(page, "2")
    assert chosen_track(page) == "1"
    press(page, Keys.ARROW_RIGHT)
    assert position(page) == pytest.approx(1)
    press(page, Keys.ARROW_LEFT)
    assert position(page) == 0
    press(page, " ")
    wait(lambda: position(page) > 0)
    press(page, "j")
    wait(lambda: position(page, "#clip-1 .position") > 0)
    assert element(page, ".current").get_attribute("id") == "clip-1"
    press(page, " ", Keys.HOME, "k")
    assert position(page, "#clip-1 .position") == 0
    assert element(page, ".current").get_attribute("id") == "clip-0"


def test_keyboard_shortcuts_can_be_turned_off(page):
    element(page, "#shortcuts").click()
    press(page, "2")
    assert chosen_track(page) == "0"


def choose_systems(page, a, b):
    for letter, name in (("a", a), ("b", b)):
        (option,) = [option for option in elements(page, f"#abx-{letter} option") if option.text == name]
        option.click()


def exported(page, downloads):
    path = downloads / "abx.csv"
    path.unlink(missing_ok=True)
    element(page, "#abx-export").click()
    wait(path.exists)
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_abx_trial_is_counted_kept_and_exported(page, downloads):
    choose_systems(page, HOSTILE_SYSTEM, "bad")
    element(page, "#abx-start").click()
    element(page, "#abx-play").click()
    wait(lambda: position(page, "#abx-position") > 0)
    assert len(page.execute_script("return window.starts")) == 3
    for button, state in zip(elements(page, ".abx-listen"), ("true", "false", "false"), strict=True):
        assert button.get_attribute("aria-pressed") == state
    elements(page, ".abx-listen")[2].click()
    assert [button.get_attribute("aria-pressed") for button in elements(page, ".abx-listen")] == ["false", "false", "true"]
    element(page, "#abx-is-a").click()
    press(page, "b", " ")
    wait(lambda: position(page, "#abx-position") > 0)
    webdriver.ActionChains(page).key_down(Keys.SHIFT).send_keys("b").key_up(Keys.SHIFT).perform()
    element(page, "#abx-stop").click()
    assert element(page, "#abx-count").text == "Answers: 2"
    rows = exported(page, downloads)
    assert [(row["a"], row["b"], row["answer"]) for row in rows] == [(HOSTILE_SYSTEM, "bad", "a"), (HOSTILE_SYSTEM, "bad", "b")]
    assert all(row["clip"] in KEYS and row["x"] in ("a", "b") for row in rows)
    assert all((row["correct"] == "1") == (row["x"] == row["answer"]) for row in rows)
    assert len({row["clip"] for row in rows}) == 2
    page.refresh()
    assert element(page, "#abx-count").text == "Answers: 2"
    assert exported(page, downloads) == rows
    element(page, "#abx-delete").click()
    page.switch_to.alert.accept()
    assert element(page, "#abx-count").text == "Answers: 0"


def test_the_probability_of_guessing_is_the_binomial_one(page):
    one = {"clip": "d", "a": "bad", "b": "good", "x": "a", "answer": "a", "correct": 1}
    rows = [one] * 4 + [one | {"a": "good", "b": "bad"}] * 4 + [one | {"answer": "b", "correct": 0}] * 2
    page.execute_script(
        "localStorage.setItem(`hifigan-jax abx ${document.body.dataset.report}`, JSON.stringify(arguments[0]))", rows
    )
    page.refresh()
    element(page, "#abx-show").click()
    (line,) = elements(page, "#abx-results li")
    assert line.text == "bad and good: 8 of 10 correct; guessing gives as many with probability 0.055"  # 56 / 1024


def test_x_is_both_systems_equally_often(page):
    choose_systems(page, HOSTILE_SYSTEM, "bad")
    element(page, "#abx-start").click()
    page.execute_script("for (let i = 0; i < 200; i++) document.querySelector('#abx-is-a').click()")
    correct = page.execute_script(
        "return JSON.parse(localStorage.getItem(`hifigan-jax abx ${document.body.dataset.report}`)).map(row => row.correct)"
    )
    assert len(correct) == 200
    assert 60 <= sum(correct) <= 140


def test_equal_systems_are_refused(page):
    choose_systems(page, "bad", "bad")
    element(page, "#abx-start").click()
    assert element(page, "#status").text == "Choose two different systems for A and B."
    assert not element(page, "#abx-trial").is_displayed()
