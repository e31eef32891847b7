"""SR2D, the prompt set of VISOR, built as its authors build it."""

from __future__ import annotations

import itertools

from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec

# fmt: off
COCO_NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 COCO classes in COCO order."""

_PHRASES = {
    "to the left of": "left of",
    "to the right of": "right of",
    "above": "above",
    "below": "below",
}


def sr2d(relations_only: bool = False) -> list[Prompt]:
    """The 31,680 prompts of SR2D, or its 25,280 relational ones, in the order of their ids.

    Every pair of COCO classes in both orders, with four relations and with "and", then every
    class alone. The id is the `unique_id` of the published file as text; the tag is the relation,
    "and" or "single". The texts are those of the published file, its grammar included
    ("a skis").

    Source: microsoft/VISOR @ b9e368b, the generator of `text_spatial_rel_phrases.json`.

    >>> prompts = sr2d()
    >>> len(prompts), prompts[1].text, prompts[1].tag
    (31680, 'a bicycle to the left of a person', 'left of')
    """
    # the first letter decides as it does for these eighty names
    said = {name: f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in COCO_NAMES}
    spec = {name: ObjectSpec(name) for name in COCO_NAMES}
    relations = {
        phrase: (RelationSpec(0, relation, 1, None if phrase == relation else phrase),)
        for phrase, relation in _PHRASES.items()
    }
    prompts = []
    for pair, (first, second) in enumerate(itertools.combinations(COCO_NAMES, 2)):
        number = 10 * pair
        orders = ((first, second), (second, first))
        objects = tuple((spec[a], spec[b]) for a, b in orders)
        for phrase, relation in _PHRASES.items():
            for (a, b), pair_objects in zip(orders, objects, strict=True):
                prompts.append(
                    Prompt(
                        str(number),
                        f"{said[a]} {phrase} {said[b]}",
                        relation,
                        SceneSpec(pair_objects, relations[phrase]),
                    )
                )
                number += 1
        if relations_only:
            continue
        for (a, b), pair_objects in zip(orders, objects, strict=True):
            prompts.append(
                Prompt(str(number), f"{said[a]} and {said[b]}", "and", SceneSpec(pair_objects))
            )
            number += 1
    if not relations_only:
        for number, name in enumerate(COCO_NAMES, 10 * 3160):
            prompts.append(Prompt(str(number), said[name], "single", SceneSpec((spec[name],))))
    return prompts
