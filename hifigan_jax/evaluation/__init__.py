"""Evaluation of synthesized speech against recordings.

    registry, metric, metrics/      METRICS: one file and one line per metric, pure functions of two recordings
    spectra, world, griffin_lim     signal processing of the metrics and of the Griffin-Lim anchor, in numpy
    files, systems                  pairs of files; folders, models and anchors
    measure, progress, statistics   values over processes with a cache; bootstrap intervals
    run, results, structure         `evaluate`, the schema of results.json, and a check of files that are read
    table, table_formats            the table of a paper as Markdown, LaTeX or CSV
    model_facts                     parameters, operations and speed of models
    figures                         matplotlib figures
    report/                         an HTML page with audio and a blind listening test
    provenance, text_table          what produced the results; text

Nothing here imports jax until a model or a mel filterbank is needed.
"""

from hifigan_jax.evaluation.results import Results
from hifigan_jax.evaluation.run import evaluate

__all__ = ["Results", "evaluate"]
