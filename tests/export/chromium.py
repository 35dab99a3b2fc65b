"""A demo in headless Chromium, for tests and benchmarks/export.py.

`apt-get install chromium chromium-driver npm` and `pip install selenium`. ONNX Runtime Web is taken from the folder
ONNXRUNTIME_WEB, else downloaded with npm.
"""

import base64
import contextlib
import functools
import http.server
import importlib.util
import os
import pathlib
import shutil
import subprocess
import threading
import time

import numpy as np

from hifigan_jax.export.demo import runtime
from hifigan_jax.weights.pretrained import cache_folder

with contextlib.suppress(ImportError):
    from selenium import webdriver
    from selenium.webdriver.common.by import By

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = {
    "onnx: pip install onnx": importlib.util.find_spec("onnx") is None,
    "selenium: pip install selenium": importlib.util.find_spec("selenium") is None,
    "Chromium: apt-get install chromium chromium-driver": not (CHROMIUM and DRIVER),
}

LISTEN = """
window.found = null;
document.addEventListener("resynthesis", ({ detail }) => { window.found = detail; });
"""
AUDIO = """
const { buffer, byteOffset, byteLength } = window.found.audio;
let text = "";
new Uint8Array(buffer, byteOffset, byteLength).forEach((x) => { text += String.fromCharCode(x); });
return btoa(text);
"""


def onnxruntime_web() -> pathlib.Path | None:
    """The folder of npm's package onnxruntime-web; None if it can't be had."""
    if given := os.environ.get("ONNXRUNTIME_WEB"):
        return pathlib.Path(given)
    folder = cache_folder() / f"onnxruntime-web-{runtime.VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", f"onnxruntime-web@{runtime.VERSION}"]
        if not shutil.which("npm") or subprocess.run(command, cwd=folder.parent, capture_output=True).returncode:
            return None
        archive = folder.with_name(folder.name + ".tgz")
        shutil.unpack_archive(archive, folder, filter="data")
        archive.unlink()
    return folder / "package"


@contextlib.contextmanager
def served(folder, headers=()):
    """The address of a web server of the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in headers:
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def started(profile):
    """A browser with a fake microphone that nobody needs to permit."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=900,1100", f"user-data-dir={profile}")
    for flag in (*flags, "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def element(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def status(page):
    return element(page, "#status").text


def wait(page, condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"timed out: {status(page)}, {element(page, '#progress').get_property('value')}"
        time.sleep(0.05)


def use(page, path):
    """Chooses a file and waits for the result or a message."""
    element(page, "#file").send_keys(str(path))
    wait(page, lambda: not page.execute_script("return document.body.classList.contains('busy')"))
    return status(page)


def result(page):
    """The audio of the resynthesis."""
    wait(page, lambda: page.execute_script("return window.found !== null"))
    return np.frombuffer(base64.b64decode(page.execute_script(AUDIO)), np.float32)
