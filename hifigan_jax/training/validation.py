"""Validation: the mel error of complete utterances, synthesized with the inference code."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hifigan_jax.config import Config
from hifigan_jax.data import read_utterance
from hifigan_jax.errors import DataError
from hifigan_jax.mel import LogMel
from hifigan_jax.recordings import Recording
from hifigan_jax.set_aside import SetAside
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.training.logging import MetricsLog
from hifigan_jax.training.stop import StopRequest
from hifigan_jax.training.validation_metrics import UtteranceMetrics

logger = logging.getLogger(__name__)

LOGGED_UTTERANCES = 5  # the number of utterances whose audio is written to TensorBoard


class Validator:
    """Validates generators; keeps its compiled programs between validations."""

    def __init__(self, config: Config, recordings: Sequence[Recording], set_aside: SetAside):
        self.config, self.recordings, self.set_aside = config, recordings, set_aside
        self.vocoder: Vocoder | None = None
        self.log_mel = LogMel(config.loss_mel)
        self.real_logged = False

    def run(self, params: Any, step: int, log: MetricsLog, stop: StopRequest) -> None:
        """Logs the mean absolute mel error up to fmax_for_loss, averaged over utterances; nothing if a stop is requested.

        Recordings that cannot be read are set aside. Raises DataError if none is left.
        """
        start = time.perf_counter()
        if self.vocoder is None:
            self.vocoder = Vocoder(self.config.replace({"compute_dtype": "float32"}), params)
        else:
            self.vocoder.update(params)
        errors, metrics = [], UtteranceMetrics(self.config.run.validation_metrics)
        for number, fake in self.vocoder.synthesize(self._utterances(stop)):
            if (utterance := self._read(number)) is None:
                continue
            real, _ = utterance
            if number < LOGGED_UTTERANCES:
                self._log_audio(log, number, real, fake, step)
            errors.append(float(np.abs(self.log_mel(real) - self.log_mel(fake)).mean()))
            metrics.add(real, fake, self.config.mel.sampling_rate)
        if stop.requested:
            logger.info("validation at step %d: interrupted", step)
            return
        if not errors:
            raise DataError(f"{self.recordings[0].path}: this and all other validation recordings can no longer be read")
        self.real_logged = True
        error, averages = float(np.mean(errors)), metrics.averages()
        seconds = time.perf_counter() - start
        named = {f"validation/{name}": value for name, value in averages.items()}
        log.scalars(step, {"validation/mel_spec_error": error, **named, "validation/total_seconds": seconds})
        shown = "".join(f", {name} {value:.4g}" for name, value in averages.items())
        logger.info("validation at step %d: mel error %.4f%s (%d utterances, %.1f s)", step, error, shown, len(errors), seconds)

    def _utterances(self, stop: StopRequest):
        for number in range(len(self.recordings)):
            if stop.requested:
                return
            if (utterance := self._read(number)) is None:
                continue
            audio, mel = utterance
            vocoder = self.vocoder
            yield number, vocoder.utterance_of_audio(audio) if mel is None else vocoder.utterance_of_mel(mel, force=True)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray | None] | None:
        recording = self.recordings[number]
        if recording.path in self.set_aside:
            return None
        try:
            return read_utterance(recording, self.config.mel)
        except DataError as error:
            self.set_aside.add(recording.path, error)
            return None

    def _log_audio(self, log: MetricsLog, number: int, real: np.ndarray, fake: np.ndarray, step: int) -> None:
        rate = self.config.mel.sampling_rate
        if not self.real_logged:
            log.audio(f"gt/y_{number}", real, step, rate)
        log.audio(f"generated/y_hat_{number}", fake, step, rate)
