"""Encoded captions, by number: in memory, or in a nameless file where they are many or large.

A caption of FLUX.2 dev takes 16 MB and one of HiDream 33 MB, so a few thousand fill a machine.
"""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

import torch
from torch import Tensor

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.training.families import Text


class _Place(NamedTuple):
    start: int
    size: int
    dtype: torch.dtype
    shape: torch.Size


class CaptionFile:
    """Captions in a file of the temporary folder (`TMPDIR`), which ends with the process.

    Raises:
        T2ISpatialError: a full disk.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="t2i-spatial-captions-")  # noqa: SIM115 - kept
        self._places: list[dict[str, _Place]] = []
        self._end = 0

    def append(self, caption: Text) -> None:
        """Add a caption; its number is how many there were."""
        self._places.append({name: self._write(value) for name, value in caption.items()})

    def _write(self, value: Tensor) -> _Place:
        raw = value.detach().contiguous().flatten().view(torch.uint8).numpy()
        try:
            self._file.write(raw)
        except OSError as error:
            raise T2ISpatialError(
                f"cannot keep captions in {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to "
                "a folder with more space"
            ) from None
        place = _Place(self._end, raw.nbytes, value.dtype, value.shape)
        self._end += raw.nbytes
        return place

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Text:
        self._file.flush()
        return {name: self._read(place) for name, place in self._places[number].items()}

    def _read(self, place: _Place) -> Tensor:
        raw = bytearray(os.pread(self._file.fileno(), place.size, place.start))
        return torch.frombuffer(raw, dtype=torch.uint8).view(place.dtype).view(place.shape)
