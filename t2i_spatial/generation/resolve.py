"""From what the user names (hub id, folder, "bundled") to files on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_spatial.errors import ModelLoadError, require

LORA_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE = "adapter_model.safetensors"
PEFT_SETTINGS = "adapter_config.json"
BUNDLED = "bundled"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a pipeline lies.

    Attributes:
        name: as the user gave it.
        folder: holds `model_index.json`.
        revision: commit of a hub model, `content:<hash>` of a local one.
    """

    name: str
    folder: Path
    revision: str


@dataclass(frozen=True, slots=True)
class LoraSource:
    """Where LoRA weights lie; `digest` is the sha256 of the file."""

    name: str
    file: Path
    digest: str


def is_local(name: str) -> bool:
    """Whether `name` means a path (or the bundled model) and not a hub id."""
    return (
        name == BUNDLED
        or name.startswith((".", "/", "~"))
        or Path(name).is_absolute()
        or Path(name).expanduser().exists()
    )


def resolve_model(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    offline: bool = False,
) -> ModelSource:
    """The folder of a diffusers pipeline, downloaded first when `name` is a hub id.

    Raises:
        ModelLoadError: unknown path, model or revision, no safetensors, or the hub is unreachable.
    """
    if name == BUNDLED:
        from t2i_spatial import bundled

        folder = Path(bundled.generator_path())
    elif is_local(name):
        folder = Path(name).expanduser()
    else:
        folder = _download(name, revision, variant, offline)
        return ModelSource(name, folder, folder.name)
    if folder.is_file():
        raise ModelLoadError(
            f"{name} is a file; a folder with model_index.json is needed "
            "(diffusers: from_single_file(...).save_pretrained(FOLDER) makes one)"
        )
    if not (folder / "model_index.json").is_file():
        raise ModelLoadError(
            f"{name}: no such folder"
            if not folder.exists()
            else f"{name} has no model_index.json; is it the folder of a diffusers pipeline?"
        )
    return ModelSource(name, folder, _content_hash(folder))


def resolve_lora(name: str, *, offline: bool = False) -> LoraSource:
    """The file of LoRA weights: a file, a folder or run directory that holds one, or a hub id.

    Raises:
        ModelLoadError: nothing there, several candidates, not safetensors, or no hub.
    """
    if name.endswith((".bin", ".pt", ".pth", ".ckpt")):
        raise ModelLoadError(f"{name}: only safetensors are loaded, never pickled weights")
    if is_local(name) or name.endswith(".safetensors"):
        path = Path(name).expanduser()
        if not path.exists():
            raise ModelLoadError(f"{name}: no such file or folder")
    else:
        path = _download_lora(name, offline)
    file = path if path.is_file() else _lora_in(path, name)
    if file.suffix != ".safetensors":
        raise ModelLoadError(f"{name}: only safetensors are loaded, never pickled weights")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LoraSource(name, file, digest)


def resolve_loras(
    names: Iterable[str], scale: float = 1.0, *, offline: bool = False
) -> tuple[tuple[LoraSource, float], ...]:
    """LoRA files and their strengths; `scale` where a name has none of its own.

    Raises:
        ModelLoadError: as `resolve_lora`; or one is named twice.
    """
    found = []
    for name in names:
        path, weight = split_strength(name)
        found.append((resolve_lora(path, offline=offline), scale if weight is None else weight))
    digests = [lora.digest for lora, _ in found]
    if len(set(digests)) < len(digests):
        raise ModelLoadError("the same LoRA is named twice; give it one strength, as in NAME:0.8")
    return tuple(found)


def split_strength(name: str) -> tuple[str, float | None]:
    """A LoRA's name and the strength behind its last colon, if one is there.

    >>> split_strength("style.safetensors:0.6"), split_strength("owner/name")
    (('style.safetensors', 0.6), ('owner/name', None))
    """
    path, colon, number = name.rpartition(":")
    if colon and re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", number) and not Path(name).exists():
        return path, float(number)
    return name, None


def _lora_in(folder: Path, name: str) -> Path:
    known = (LORA_FILE, f"lora/{LORA_FILE}", PEFT_FILE)
    for candidate in (folder / name for name in known):
        if candidate.is_file():
            return candidate
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(file.name for file in found) or "no safetensors at all"
    raise ModelLoadError(f"{name} has no {LORA_FILE}, but {listed}; name the file itself")


def _content_hash(folder: Path) -> str:
    """Names, sizes, JSON in full, and 256 pieces of 16 KiB of every weight file: quick enough."""
    digest = hashlib.blake2b(digest_size=16)
    pieces, piece = 256, 1 << 14
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}\n{size}\n".encode())
        if file.suffix not in (".json", ".safetensors"):
            continue
        with file.open("rb") as stream:
            if file.suffix == ".json" or size <= pieces * piece:
                digest.update(stream.read())
                continue
            for number in range(pieces):
                stream.seek((size - piece) * number // (pieces - 1))
                digest.update(stream.read(piece))
    return f"content:{digest.hexdigest()}"


def _download(name: str, revision: str | None, variant: str | None, offline: bool) -> Path:
    diffusers = require("diffusers", "generate")
    try:
        with quiet_libraries():
            folder = diffusers.DiffusionPipeline.download(
                name,
                revision=revision,
                variant=variant,
                use_safetensors=True,
                local_files_only=True if offline else None,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _explain(name, revision, error) from None
    return Path(folder)


def _download_lora(name: str, offline: bool) -> Path:
    hub = require("huggingface_hub", "generate")
    try:
        folder = hub.snapshot_download(
            name, allow_patterns=["*.safetensors", "*.json"], local_files_only=offline
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _explain(name, None, error) from None
    return Path(folder)


def _explain(name: str, revision: str | None, error: BaseException) -> ModelLoadError:
    from huggingface_hub import errors as hub_errors

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(item, kinds) for item in causes)

    if "safetensors" in str(error):
        return no_safetensors(name)
    if caused_by(hub_errors.HFValidationError):
        return ModelLoadError(f"{name!r} is neither a folder nor a hub id of the form OWNER/NAME")
    if caused_by(hub_errors.GatedRepoError):
        return ModelLoadError(
            f"{name!r} is gated: accept its terms on its hub page and log in with `hf auth login`"
        )
    if caused_by(hub_errors.RevisionNotFoundError):
        return ModelLoadError(f"{name!r} has no revision {revision!r}")
    if caused_by(hub_errors.RepositoryNotFoundError):
        return ModelLoadError(
            f"no model {name!r} on the hub, and no such folder here (a private one needs "
            "`hf auth login`)"
        )
    if caused_by(hub_errors.OfflineModeIsEnabled, hub_errors.LocalEntryNotFoundError, OSError):
        return ModelLoadError(
            f"{name!r} is not in the local cache and the hub cannot be reached; give the path of a "
            "folder with model_index.json, or download it where there is a network and set "
            "HF_HUB_OFFLINE=1 here"
        )
    return ModelLoadError(f"{name!r} cannot be loaded: {_first_line(error)}")


def no_safetensors(name: str) -> ModelLoadError:
    """The refusal of a model that would have to be unpickled."""
    return ModelLoadError(
        f"{name!r} has no safetensors weights, and pickled ones are never loaded; convert it with "
        "save_pretrained on a machine you trust, or choose a --revision or --variant that has them"
    )


_PACKAGES = {
    "sentencepiece": "sentencepiece",
    "tiktoken": "tiktoken",
    "google.protobuf": "protobuf",
    "ftfy": "ftfy",
    "bs4": "beautifulsoup4",
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
    "gguf": "gguf",
}
"""Libraries that tokenizers and quantised weights want: module -> name by which it is installed."""


def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def needs(model: str, what: str, modules: Iterable[str]) -> ModelLoadError:
    """The refusal of a model whose libraries are not here."""
    named = " ".join(dict.fromkeys(_PACKAGES.get(module, module) for module in modules))
    return ModelLoadError(f"{model!r} ({what}) needs what is not installed: pip install {named}")


def load_error(source: ModelSource, variant: str | None, error: BaseException) -> ModelLoadError:
    """What went wrong while a pipeline was read from its folder."""
    text = str(error)
    if ".safetensors found in directory" in text or "`safetensors` weights" in text:
        return no_safetensors(source.name)
    if variant and "variant" in text:
        return ModelLoadError(f"{source.name!r} has no files of the variant {variant!r}")
    missing = [
        module
        for module, package in _PACKAGES.items()
        if package in text.lower() and not is_installed(module)
    ]
    if missing and "install" in text:
        return needs(source.name, "its tokenizer or weights", missing[:1])
    return ModelLoadError(f"{source.name!r} cannot be loaded: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class quiet_libraries:
    """No loading bars, reports and deprecation notes of diffusers and transformers."""

    def __enter__(self) -> None:
        import warnings

        self._state: list[tuple[Any, int, bool]] = []
        for library in ("diffusers", "transformers"):
            logging = require(library, "generate").utils.logging
            bars = getattr(logging, "is_progress_bar_enabled", lambda: True)()
            self._state.append((logging, logging.get_verbosity(), bars))
            logging.set_verbosity_error()
            logging.disable_progress_bar()
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore", FutureWarning)

    def __exit__(self, *exception: object) -> None:
        self._warnings.__exit__(None, None, None)
        for logging, verbosity, bars in self._state:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
