"""Folders of others: which image belongs to which prompt, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.import_images import import_images

PROMPTS = [Prompt("a_1", "a cat"), Prompt("b", "a dog, and a bus")]


def save(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "green").save(path)


def imported(
    folder: Path, prompts: list[Prompt] | None = PROMPTS, samples: int | None = None
) -> pl.DataFrame:
    run = Run.create(folder.parent / "run")
    import_images(run, folder, prompts, samples)
    return run.images()


def test_names_of_id_and_sample(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for name in ("a_1_0.png", "a_1_1.JPG", "b_00.webp", "other_0.png", "b_1.txt"):
        save(folder / name) if not name.endswith("txt") else (folder / name).write_text("x")
    table = imported(folder)
    assert table.select("prompt_id", "sample", "status").rows() == [
        ("a_1", 0, "scored"),
        ("a_1", 1, "scored"),
        ("b", 0, "scored"),
        ("b", 1, "image_missing"),
    ]
    assert table["image"][2] == str((folder / "b_00.webp").resolve())
    assert (table["width"][0], table["height"][0]) == (8, 6)
    assert "prompt 'b' sample 1" in table["reason"][3]
    assert [p.name for p in (tmp_path / "run").rglob("*.png")] == []


def test_expected_samples_can_be_more_or_fewer_than_found(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for sample in range(3):
        save(folder / f"a_1_{sample}.png")
    assert imported(folder, samples=2)["status"].to_list() == ["scored"] * 2 + ["image_missing"] * 2
    run = Run.create(tmp_path / "more")
    import_images(run, folder, PROMPTS[:1], 4)
    assert run.images()["status"].to_list() == ["scored"] * 3 + ["image_missing"]


def test_compbench_names_are_numbered_within_their_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    save(folder / "a cat_000007.png", (7, 7))
    save(folder / "a cat_000003.png", (3, 3))
    save(folder / "a dog, and a bus_000010.png")
    table = imported(folder)
    assert table["width"].to_list() == [3, 7, 8, None]


def test_geneval_layout_by_line_and_by_its_own_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "geneval"
    for line, text in ((0, "a dog, and a bus"), (1, "a cat")):
        save(folder / f"0000{line}" / "samples" / "0000.png", (line + 1, 1))
        save(folder / f"0000{line}" / "samples" / "0001.png")
        (folder / f"0000{line}" / "metadata.jsonl").write_text(json.dumps({"prompt": text}))
        save(folder / f"0000{line}" / "grid.png")
    table = imported(folder)
    assert table["width"].to_list() == [2, 8, 1, 8]
    for line in (0, 1):
        (folder / f"0000{line}" / "metadata.jsonl").unlink()
    run = Run.create(tmp_path / "by-line")
    import_images(run, folder, PROMPTS)
    assert run.images()["width"].to_list() == [1, 8, 2, 8]


def test_metadata_by_id_text_or_file_name(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    records = [
        {"file_name": "x/one.png", "prompt_id": "a_1", "sample": 1},
        {"file_name": "two.png", "text": "a cat"},
        {"file_name": "b.png"},
        {"file_name": "four.png", "caption": "a dog, and a bus"},
        {"file_name": "unrelated.png", "text": "a tree"},
    ]
    for number, record in enumerate(records):
        save(folder / str(record["file_name"]), (number + 1, 1))
    records[1]["sample"] = 0
    lines = "\n\n".join(json.dumps(record) for record in records)
    (folder / "metadata.jsonl").write_text(lines)
    assert imported(folder)["width"].to_list() == [2, 1, 3, 4]


def test_captions_become_prompts(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    save(folder / "p.png")
    save(folder / "q.png")
    (folder / "p.txt").write_text("a cat to the left of a dog\n")
    run = Run.create(tmp_path / "run")
    import_images(run, folder)
    (row,) = run.prompts().iter_rows(named=True)
    assert (row["prompt_id"], [o["name"] for o in row["objects"]]) == ("p", ["cat", "dog"])
    assert run.images()["prompt_id"].to_list() == ["p"]
    (folder / "metadata.jsonl").write_text('{"file_name": "q.png", "text": "a \u2028bus"}\n')
    other = Run.create(tmp_path / "other")
    import_images(other, folder)
    assert other.prompts()["text"].to_list() == ["a \u2028bus"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        ('{"prompt_id": "b"}', "line 2: expected a JSON object with 'file_name'"),
        ('{"file_name": "../../secret.png", "prompt_id": "b"}', "leaves the folder"),
        ('{"file_name": "/etc/passwd", "prompt_id": "b"}', "leaves the folder"),
        ('{"file_name": "z.png", "prompt_id": "c"}', "unknown prompt id 'c'"),
        ('{"file_name": "z.png", "prompt_id": "b", "sample": -1}', "sample must be"),
        ('{"file_name": "z.png", "prompt_id": "a_1", "sample": 0}', "two files for sample 0"),
    ],
)
def test_broken_metadata_says_where(tmp_path: Path, line: str, message: str) -> None:
    folder = tmp_path / "images"
    save(folder / "y.png")
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "y.png", "prompt_id": "a_1"}\n' + line + "\n"
    )
    with pytest.raises(InputError, match=message):
        imported(folder)


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        imported(tmp_path / "nothing")
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(InputError, match="no images in it"):
        imported(folder)
    save(folder / "strange.png")
    with pytest.raises(InputError, match=r"'strange\.png'.*such as a_1_0\.png"):
        imported(folder)
    with pytest.raises(InputError, match="no captions"):
        imported(folder, None)
    with pytest.raises(InputError, match="empty"):
        imported(folder, [])
    with pytest.raises(InputError, match="at least 1"):
        imported(folder, samples=0)
    save(folder / "b_0.png")
    save(folder / "b_00.png")
    with pytest.raises(InputError, match="two files"):
        imported(folder)


def test_another_folder_is_another_plan(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(tmp_path / name / "b_0.png")
    run = Run.create(tmp_path / "run")
    import_images(run, tmp_path / "one", PROMPTS)
    import_images(run, tmp_path / "one", PROMPTS)
    with pytest.raises(PlanMismatchError, match="images:"):
        import_images(run, tmp_path / "two", PROMPTS)
    import_images(run, tmp_path / "two", PROMPTS, overwrite=True)
    assert "two" in run.images().filter(pl.col("status") == "scored")["image"][0]
