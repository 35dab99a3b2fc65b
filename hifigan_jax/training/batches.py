"""The batches of a run, sharded over its devices."""

import jax
import numpy as np
from jax.sharding import NamedSharding

from hifigan_jax import data, faults
from hifigan_jax.config import Config
from hifigan_jax.data import Batch
from hifigan_jax.errors import DataError
from hifigan_jax.filterbank import silence
from hifigan_jax.recordings import Corpus
from hifigan_jax.set_aside import SetAside


class Batches:
    """An endless iterator of global batches.

    If the recordings of this process can no longer be read, `failure` is the error, and its rows are silence from then on: in a
    run of several processes, the others compute one more step before they can know.
    """

    def __init__(self, corpus: Corpus, config: Config, sharded: NamedSharding, set_aside: SetAside):
        self.corpus, self.config, self.sharded, self.set_aside = corpus, config, sharded, set_aside
        self.failure: DataError | None = None
        self._rows = iter(())

    def start(self, batch: int, order: int) -> None:
        """Continues with this batch of this data order, counted from 0 over all epochs."""
        processes = jax.process_index(), jax.process_count()
        batches = data.training_batches(self.corpus, self.config, *processes, order, self.set_aside)
        self._rows = data.iterate(batches, batch, self.config.data.num_workers)

    def __next__(self) -> Batch:
        rows = self._silence() if self.failure else self._next_rows()
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(self.sharded, leaf), rows)

    def _next_rows(self) -> Batch:
        try:
            rows = next(self._rows)
        except DataError as error:
            self.failure = error
            return self._silence()
        return jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), rows) if faults.fires("batch") else rows

    def _silence(self) -> Batch:
        mel, options = self.config.mel, self.config.optimization
        rows = options.batch_size // jax.process_count()
        shape = rows, options.segment_size // mel.hop_size, mel.num_mels
        frames = np.broadcast_to(silence(mel.convention), shape).astype(np.float32)
        return Batch(np.zeros((rows, options.segment_size), np.float32), frames if self.config.data.fine_tuning else None)
