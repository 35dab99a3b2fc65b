"""Reading and writing weights as dictionaries of numpy arrays: PyTorch and safetensors files, pretrained models."""
