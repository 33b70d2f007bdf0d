"""A checkpoint folder read tensor by tensor: no more of it is in memory than is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_BLOCK = 1 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class Checkpoint:
    """Weights in one or several safetensors files, as transformers writes them.

    Attributes
    ----------
    folder
        Where they are.
    config
        ``config.json`` as it stands; older ones leave out what is at its default.

    Raises
    ------
    ValueError
        Where the folder is no checkpoint, names a file it does not hold, or holds weights of another format.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config: dict[str, Any] = _json(self.folder / "config.json")
        self._files = self._where()

    def _where(self) -> dict[str, Path]:
        """File of every tensor."""
        index = self.folder / _INDEX
        if index.is_file():
            placed: dict[str, str] = _json(index).get("weight_map", {})
            files = {name: self.folder / file for name, file in placed.items()}
        elif (self.folder / _SINGLE).is_file():
            single = self.folder / _SINGLE
            with _opened(single) as file:
                files = dict.fromkeys(file.keys(), single)
        else:
            other = " (weights in pickle format are not read: save them as safetensors)"
            raise ValueError(
                f"{self.folder} holds neither {_SINGLE} nor {_INDEX}"
                + (other if any(self.folder.glob("*.bin")) else "")
            )
        missing = sorted({path.name for path in files.values() if not path.is_file()})
        if missing:
            raise ValueError(f"{self.folder} lacks the weights file {missing[0]} that its index names")
        return files

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the order of the files."""
        return tuple(self._files)

    def tensor(self, name: str) -> Tensor:
        """One tensor, with its own element type."""
        with _opened(self._files[name]) as file:
            found: Tensor = file.get_tensor(name)
            return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""
        with _opened(self._files[name]) as file:
            return tuple(file.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """Element type of a tensor, without reading it.

        Raises
        ------
        ValueError
            For a quantised checkpoint: what was rounded once is not rounded again.
        """
        with _opened(self._files[name]) as file:
            stored = str(file.get_slice(name).get_dtype())
        if stored not in _DTYPES:
            raise ValueError(
                f"the weight {name} is stored as {stored}; only fp32, fp16 and bf16 are exported"
            )
        return _DTYPES[stored]

    @property
    def sha256(self) -> str:
        """One digest over the configuration and every weights file."""
        digest = hashlib.sha256()
        paths: Iterable[Path] = (self.folder / "config.json", *sorted(set(self._files.values())))
        for path in paths:
            digest.update(f"{path.name}:{file_sha256(path)}\n".encode())
        return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_BLOCK):
            digest.update(chunk)
    return digest.hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path.parent} holds no {path.name}: it is no checkpoint folder") from None
    except ValueError:
        raise ValueError(f"{path} is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object")
    return found


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from None
