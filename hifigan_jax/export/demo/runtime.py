"""ONNX Runtime Web for the page: linked to a CDN by version and hash, or copied from the npm package."""

import base64
import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

from hifigan_jax.errors import DiskError, UsageError

VERSION = "1.30.0"
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
# SHA-384 of the files of this version, as in its npm package.
FILES = {
    "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
SIZE = 14.3e6  # bytes


class PageFile(NamedTuple):
    """A file that the page fetches: its address and its hash in the notation of subresource integrity."""

    url: str
    integrity: str

    @classmethod
    def of(cls, site: Path, name: str) -> "PageFile":
        """A file of the site. Its address changes with its content, so that no browser combines files of two versions."""
        with open(site / name, "rb") as file:
            digest = hashlib.file_digest(file, "sha384").digest()
        return cls(f"{name}?{digest.hex()[:8]}", f"sha384-{base64.b64encode(digest).decode()}")


def linked() -> list[PageFile]:
    """The script and the WebAssembly of the runtime on a CDN."""
    return [PageFile(CDN + name, integrity) for name, integrity in FILES.items()]


def copied(folder: Path, site: Path) -> list[PageFile]:
    """Copies the script and the WebAssembly from npm's package, or its `dist`, into `site`. Raises UsageError, DiskError."""
    dist = next((path for path in (folder, folder / "dist") if (path / next(iter(FILES))).is_file()), folder)
    missing = [name for name in FILES if not (dist / name).is_file()]
    if missing:
        get = f"run `npm pack onnxruntime-web@{VERSION}`, unpack it and give its folder package/dist"
        raise UsageError(f"--runtime {folder}: does not contain {', '.join(missing)}: {get}")
    (site / "runtime").mkdir()
    for name in FILES:
        try:
            shutil.copyfile(dist / name, site / "runtime" / name)
        except OSError as error:
            raise DiskError(f"{site / 'runtime' / name}: cannot be written: {error.strerror}") from None
    return [PageFile.of(site, f"runtime/{name}") for name in FILES]
