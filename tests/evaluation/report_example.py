"""An evaluation whose names need escaping, for the tests of reports."""

import numpy as np
import soundfile

from hifigan_jax.evaluation import evaluate

RATE = 22050
HOSTILE_KEY, HOSTILE_SYSTEM = 'a "<i>&amp;', '</script><b onclick="x">'
KEYS = [HOSTILE_KEY, "b/c", "d", "e", "f"]


def make(folder, speech):
    """Evaluates two systems, of which the second, `bad`, has more noise; returns the results, which are also in the folder."""
    rng = np.random.default_rng(0)
    for i, key in enumerate(KEYS):
        audio = np.roll(speech, 3000 * i)
        for name, rms in (("reference", 0), ("good", 0.001), ("bad", 0.03)):
            path = folder / name / f"{key}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, audio + rng.normal(0, rms, audio.size), RATE)
    sources = {HOSTILE_SYSTEM: folder / "good", "bad": folder / "bad"}
    results = evaluate(folder / "reference", sources, ["mel_l1"], cache=folder / "cache", baseline="bad")
    results.save(folder)
    return results
