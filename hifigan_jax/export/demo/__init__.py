"""A static page that resynthesizes a visitor's recording with the generator's ONNX graph, on the visitor's machine."""

from hifigan_jax.export.demo.site import refuse_other_files, write_demo

__all__ = ["refuse_other_files", "write_demo"]
