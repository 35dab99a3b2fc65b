"""Generators for other runtimes: `onnx` for ONNX Runtime and what is built on it, `stablehlo` for XLA without this package."""
