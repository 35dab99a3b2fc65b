"""Print where the time of `infer.py` goes for one recording, as one JSON object: phase -> seconds. start.py runs it.

    python benchmarks/start_phases.py STARTED RECORDING WEIGHTS CONFIG OUTPUT

STARTED is time.time() when the process was started. The phases are those of `infer.py` with stored programs.
"""

import json
import sys
import time
from collections import defaultdict
from functools import wraps
from pathlib import Path

STARTED, RECORDING, WEIGHTS, CONFIG, OUTPUT = sys.argv[1:]
phases = defaultdict(float, {"start of Python": time.time() - float(STARTED)})


def timed(phase: str, function):
    """Return `function` with the time of its calls added to a phase."""

    @wraps(function)
    def call(*arguments, **options):
        began = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            phases[phase] += time.perf_counter() - began

    return call


def main() -> None:
    began = time.perf_counter()
    from hifigan_jax import audio, runtime
    from hifigan_jax.cli import infer  # noqa: F401

    runtime.prepare(onednn=False)
    phases["import jax and the command line"] = time.perf_counter() - began
    began = time.perf_counter()
    from hifigan_jax import loading
    from hifigan_jax.synthesis import Vocoder

    phases["import flax and the vocoder"] = time.perf_counter() - began
    import jax.monitoring

    loaded = [0.0]

    def on_event(event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            loaded[0] += duration

    jax.monitoring.register_event_duration_secs_listener(on_event)
    parts = {"read the weights file": "read_torch_file", "convert the weights": "_params", "check their shapes": "_check_shapes"}
    for phase, name in parts.items():
        setattr(loading, name, timed(phase, getattr(loading, name)))
    vocoder = timed("fold weight norm", Vocoder.from_pretrained)(WEIGHTS, CONFIG)
    phases["fold weight norm"] -= sum(phases[phase] for phase in parts)
    read = timed("read the recording", audio.read_audio_at)
    utterance = vocoder.utterance_of_audio(read(RECORDING, vocoder.sampling_rate))
    first, loaded[0] = timed("trace and lower", lambda: tuple(vocoder.synthesize([(0, utterance)]))), 0.0
    ((_, samples),) = first()
    phases["load the stored program"] = loaded[0]
    timed("compute", lambda: tuple(vocoder.synthesize([(0, utterance)])))()
    phases["trace and lower"] -= phases["load the stored program"] + phases["compute"]
    timed("write", audio.write_wav)(OUTPUT, samples, vocoder.sampling_rate)
    print(json.dumps(phases))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
