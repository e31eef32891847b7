"""What users, trainers and clients hand in, as prompts with scenes and as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.images import as_image, read_image
from t2i_spatial.locations import is_place
from t2i_spatial.scene import Prompt, SceneSpec, check_unique_ids

MAX_TEXT = 4000
"""Longest prompt in characters; benchmark prompts have at most a few hundred."""
MAX_OBJECTS = 32
MAX_RELATIONS = 64
MAX_COUNT = 100
"""Of all objects of a scene together. The best assignment of boxes takes some seconds then."""
MAX_NESTING = 20
"""Of lists and mappings in a scene or record."""
MAX_RECORD = 64_000
"""Most bytes of a scene or record as JSON."""


def as_prompt(asked: Any, prompt_id: str = "0") -> Prompt:
    """One request as a `Prompt` with a scene.

    Args:
        asked: a text (which is parsed), a `SceneSpec`, a `Prompt`, a GenEval record (`include`,
            `tag`, ...), a record of our own prompt format (`text`, `scene`, `tag`), or one of these
            records as JSON text, as data sets carry them.
        prompt_id: id it gets.

    Raises:
        InputError: none of these, an empty or overlong text, a scene that is broken or asks for
            more than the limits of this module, or text that is not Unicode.
    """
    if isinstance(asked, str) and asked.lstrip().startswith("{"):
        asked = _decoded(asked)
    if isinstance(asked, Prompt):
        prompt = asked
    elif isinstance(asked, SceneSpec):
        prompt = Prompt(prompt_id, "(scene)", scene=asked)
    elif isinstance(asked, str):
        prompt = Prompt(prompt_id, asked)
    elif isinstance(asked, Mapping):
        prompt = _from_record(dict(asked))
    else:
        raise InputError(f"a text, scene or prompt record is needed, got {type(asked).__name__}")
    if not prompt.text.strip():
        raise InputError("the prompt is empty")
    if len(prompt.text) > MAX_TEXT:
        raise InputError(f"the prompt has {len(prompt.text):,} characters; at most {MAX_TEXT:,}")
    if prompt.scene is None:
        from t2i_spatial.prompts import read_scenes

        prompt = read_scenes([prompt])[0]
    prompt = replace(prompt, id=prompt_id)
    _check_limits(prompt)
    return prompt


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("a prompt that begins with { must be a record in JSON") from None


def asked_of(prompts: Sequence[str], metadata: Any = None) -> list[Any]:
    """What is asked of each image: its metadata where that holds a scene, else its prompt.

    Args:
        metadata: mappings or JSON texts, one per prompt, as trainers hand them on.

    Raises:
        InputError: another form or number of records.
    """
    if metadata is None:
        return list(prompts)
    if isinstance(metadata, str) or not isinstance(metadata, Sequence):
        raise InputError(f"metadata must be a list of records, got {type(metadata).__name__}")
    if len(metadata) != len(prompts):
        raise InputError(f"{len(metadata)} metadata records for {len(prompts)} prompts")
    asked: list[Any] = []
    for prompt, record in zip(prompts, metadata, strict=True):
        if isinstance(record, str):
            try:
                record = json.loads(record)
            except (ValueError, RecursionError):
                raise InputError("metadata is not JSON") from None
        scene = isinstance(record, Mapping) and ("include" in record or "scene" in record)
        asked.append({**record, "text": record.get("text", prompt)} if scene else prompt)
    return asked


def _check_limits(prompt: Prompt) -> None:
    scene = prompt.scene or SceneSpec()
    counted = sum(1 if spec.count is None else spec.count for spec in scene.objects)
    for seen, most, what in (
        (len(scene.objects), MAX_OBJECTS, "objects"),
        (len(scene.relations), MAX_RELATIONS, "relations"),
        (counted, MAX_COUNT, "counted objects"),
    ):
        if seen > most:
            raise InputError(f"{seen} {what} in a scene; at most {most}")
    record = prompt.to_dict()
    if not _is_flat(record, MAX_NESTING):
        raise InputError(f"the prompt's record is nested more than {MAX_NESTING} deep")
    try:
        size = len(json.dumps(record, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise InputError("the prompt holds half a character (a lone surrogate)") from None
    if size > MAX_RECORD:
        raise InputError(f"the prompt's record has {size:,} bytes; at most {MAX_RECORD:,}")


def _is_flat(value: Any, levels: int) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return True
    return levels > 0 and all(_is_flat(part, levels - 1) for part in value)


def as_prompts(asked: Iterable[Any]) -> list[Prompt]:
    """`as_prompt` for a batch, ids "0", "1", ...; the message of an error names the item."""
    prompts = []
    for number, entry in enumerate(asked):
        try:
            prompts.append(as_prompt(entry, str(number)))
        except InputError as error:
            raise InputError(f"item {number}: {error}") from None
    return prompts


def distinct_prompts(asked: Sequence[Any]) -> list[Prompt]:
    """One `Prompt` with a scene per image; the same text, scene or id is the same prompt.

    Args:
        asked: texts, scenes, prompts (which keep their ids), or records as `as_prompt` takes them.

    Raises:
        InputError: none of these, or one id with two texts or scenes.
    """
    known: dict[Any, Prompt] = {}
    result = []
    for number, entry in enumerate(asked):
        try:
            key, prompt = _told_apart(entry, f"#{len(known)}")
        except InputError as error:
            raise InputError(f"prompt {number}: {error}") from None
        first = known.setdefault(key, prompt)
        if isinstance(entry, Prompt) and entry.text != first.text:
            raise InputError(f"prompt id {entry.id!r} has two texts")
        if prompt.scene != first.scene:
            raise InputError(f"prompt id {prompt.id!r} has two scenes")
        result.append(first)
    check_unique_ids(list(known.values()))
    return result


def _told_apart(entry: Any, new_id: str) -> tuple[Any, Prompt]:
    """What tells a prompt from others, and the prompt with its scene."""
    from t2i_spatial.prompts import parse_prompt, read_scenes

    if isinstance(entry, Prompt):
        return (Prompt, entry.id), read_scenes([entry])[0]
    if isinstance(entry, SceneSpec):
        return entry, Prompt(new_id, "(scene)", scene=entry)
    if isinstance(entry, str):
        return entry, Prompt(new_id, entry, scene=parse_prompt(entry))
    prompt = as_prompt(entry, new_id)
    return (prompt.text, prompt.tag, prompt.scene), prompt


def _from_record(record: dict[str, Any]) -> Prompt:
    if "include" in record or "exclude" in record:
        return geneval_prompt(record)
    keys = ("text", "tag", "scene", "metadata")
    known: dict[str, Any] = {key: record[key] for key in keys if key in record}
    if not isinstance(known.get("metadata") or {}, Mapping):
        raise InputError("metadata must be a mapping")
    text = known.get("text", record.get("prompt"))
    if text is None and known.get("scene") is not None:
        text = "(scene)"
    if not isinstance(text, str):
        raise InputError("a prompt record needs a text")
    tag = known.get("tag")
    if tag is not None and not isinstance(tag, str):
        raise InputError(f"tag must be text, got {type(tag).__name__}")
    return Prompt.from_dict({**known, "text": text, "id": "0"})


def geneval_prompt(record: Mapping[str, Any]) -> Prompt:
    """A GenEval metadata dict (as flow_grpo's data sets carry it) as a `Prompt`.

    Raises:
        InputError: a clause without class, a bad count, colour, index or relation, or a tag that
            is no text.
    """
    from t2i_spatial.prompts.readers.geneval_metadata import geneval_scene

    record = dict(record)
    for key in ("include", "exclude"):
        clauses = record.get(key) or []
        if not isinstance(clauses, list) or len(clauses) > MAX_OBJECTS:
            raise InputError(f"{key} must be a list of at most {MAX_OBJECTS} clauses")
        for clause in clauses:
            if not isinstance(clause, Mapping):
                raise InputError(f"a clause of {key} must be a mapping, got {clause!r:.80}")
            color = clause.get("color")
            if color is not None and not isinstance(color, str):
                raise InputError(f"color must be text, got {color!r}")
            count = clause.get("count", 1)
            if isinstance(count, int) and count > MAX_COUNT:
                raise InputError(f"a count of {count}; at most {MAX_COUNT}")
    if not record.get("include"):
        raise InputError("a GenEval record needs a non-empty include list")
    # flow_grpo's JSON lines may have passed through tuples
    record["include"] = [
        {**c, "position": list(c["position"])} if isinstance(c.get("position"), tuple) else c
        for c in record["include"]
    ]
    tag, text = record.get("tag"), record.get("prompt", "(GenEval record)")
    if not isinstance(tag, str | None) or not isinstance(text, str):
        raise InputError("tag and prompt of a GenEval record must be text")
    return Prompt("0", text or "(GenEval record)", tag, geneval_scene(record), {"geneval": record})


def as_images(images: Any) -> list[Image.Image]:
    """Pictures as 8-bit RGB.

    Args:
        images: float array or tensor (n, 3, h, w) in [0, 1] (to within rounding), uint8
            array or tensor (n, h, w, 3) or (n, 3, h, w), or a sequence of Pillow images and
            single arrays of these kinds.

    Raises:
        InputError: another shape or type, or values that are not finite or lie outside.
    """
    if isinstance(images, Sequence) or hasattr(images, "__iter__"):
        return [as_image(image) for image in images]
    raise InputError(f"images must be an array or a list, got {type(images).__name__}")


def as_pictures(images: Sequence[Any]) -> list[Image.Image]:
    """Pictures as 8-bit RGB from files, Pillow images, arrays and tensors.

    Raises:
        InputError: see `t2i_spatial.images.as_image`; the message names the item.
        ImageUnreadableError: a path that is no readable image.
    """
    return [_picture(image, number) for number, image in enumerate(images)]


def _picture(image: Any, number: int) -> Image.Image:
    if is_place(image):
        return read_image(image)
    try:
        return as_image(image)
    except InputError as error:
        raise InputError(f"image {number}: {error}") from None


def listed(values: Any, what: str) -> list[Any]:
    """The items of anything that can be iterated over and is no single item.

    Raises:
        InputError: a text, a mapping, a path, or nothing to iterate over.
    """
    if isinstance(values, bytes | Mapping) or is_place(values) or not isinstance(values, Iterable):
        raise InputError(f"{what} must be a list, got {type(values).__name__}")
    return list(values)
