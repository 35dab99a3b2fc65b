"""An exported generator as the vocoder of a Matcha-TTS model in sherpa-onnx, which ends the process if metadata is missing."""

import subprocess
import sys

import numpy as np
import pytest

from hifigan_jax.synthesis import Vocoder

pytestmark = pytest.mark.slow

SYNTHESIS = """
import sys
import numpy as np
import sherpa_onnx as so

folder = sys.argv[1]
names = {"acoustic_model": "acoustic.onnx", "vocoder": "vocoder.onnx", "lexicon": "lexicon.txt", "tokens": "tokens.txt"}
matcha = so.OfflineTtsMatchaModelConfig(**{key: f"{folder}/{name}" for key, name in names.items()})
config = so.OfflineTtsConfig(model=so.OfflineTtsModelConfig(matcha=matcha), silence_scale=1.0)
audio = so.OfflineTts(config).generate("你好")
np.save(f"{folder}/audio.npy", np.array(audio.samples, np.float32))
print(audio.sample_rate)
"""


def acoustic_model(mel, path):
    """Writes a stand-in for Matcha-TTS that returns this mel [1, M, F] for any text."""
    from onnx import TensorProto, helper, numpy_helper, save

    types = {"x": TensorProto.INT64, "x_length": TensorProto.INT64, "noise_scale": TensorProto.FLOAT}
    types["length_scale"] = TensorProto.FLOAT
    shapes = {"x": [1, "tokens"]}
    inputs = [helper.make_tensor_value_info(name, kind, shapes.get(name, [1])) for name, kind in types.items()]
    output = helper.make_tensor_value_info("mel", TensorProto.FLOAT, mel.shape)
    node = helper.make_node("Identity", ["value"], ["mel"])
    graph = helper.make_graph([node], "stand-in", inputs, [output], [numpy_helper.from_array(mel, "value")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    facts = {"sample_rate": "22050", "n_speakers": "1", "jieba": "1", "use_eos_bos": "0", "pad_id": "0", "version": "1"}
    helper.set_model_props(model, facts)
    save(model, path)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_sherpa_onnx_gives_the_audio_of_decode(precision, tiny_generator, tmp_path, rng):
    pytest.importorskip("onnx")
    pytest.importorskip("sherpa_onnx")
    from hifigan_jax.export.onnx import export_onnx

    mel = rng.normal(-4, 2, (1, 80, 60)).astype(np.float32)
    acoustic_model(mel, tmp_path / "acoustic.onnx")
    export_onnx(tiny_generator, tmp_path / "vocoder.onnx", precision)
    (tmp_path / "tokens.txt").write_text("_ 0\nn 1\nh 2\n")
    (tmp_path / "lexicon.txt").write_text("你 n\n好 h\n")
    result = subprocess.run([sys.executable, "-c", SYNTHESIS, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == "22050"
    expected = Vocoder(tiny_generator.config, tiny_generator.params).decode(mel[0], force=True)
    assert np.sqrt(np.mean(np.square(expected))) >= 0.05
    np.testing.assert_allclose(np.load(tmp_path / "audio.npy"), expected, atol=1e-4 if precision == "float32" else 1e-2)
