"""Weights from elsewhere, as plain dictionaries of numpy arrays: PyTorch files, the reference's names, the named models."""
