"""Files that people bring are read from a store as from a folder, and trusted as little."""

from __future__ import annotations

import json

import polars as pl
import pytest

from t2i_spatial.curation.exporter import EXPORT, export
from t2i_spatial.curation.parsing import read_pipeline
from t2i_spatial.curation.selection import select
from t2i_spatial.curation.spright import read_captions
from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write, write_table
from t2i_spatial.interchange.geneval_export import export_folder
from t2i_spatial.locations import locate
from t2i_spatial.prompts import load_prompts
from t2i_spatial.run import Run
from t2i_spatial.stages.import_images import import_images
from tests.curation.runs import drawing
from tests.storage.chain import contents


def captioned(folder, *more: str):
    """Two pictures and a metadata.jsonl, which may name others."""
    names = ["a/one.png", "two.png", *more]
    for number, name in enumerate(names[:2]):
        with atomic_write(folder / name) as file:
            drawing(number).save(file, "PNG")
    lines = [json.dumps({"file_name": n, "text": "a cat left of a dog"}) for n in names]
    with atomic_write(folder / "metadata.jsonl", "w") as file:
        file.write("\n".join(lines))
    return folder


def test_a_folder_with_metadata_is_imported(url, tmp_path):
    runs = []
    for place in (tmp_path, locate(url)):
        runs.append(Run.create(place / "run"))
        import_images(runs[-1], captioned(place / "set", "gone.png"))
    here, there = (run.images().drop("image", "reason") for run in runs)
    assert there.equals(here)
    assert there["status"].to_list() == ["scored", "scored", "image_missing"]
    assert runs[1].prompts().equals(runs[0].prompts())


@pytest.mark.parametrize("name", ["../secret.png", "/etc/a.png", "s3://other/a.png", "a/../../b"])
def test_metadata_do_not_lead_out_of_their_folder(url, name):
    folder = captioned(locate(f"{url}/set"), name)
    with pytest.raises(InputError, match="leaves the folder"):
        import_images(Run.create(f"{url}/run"), folder)


def test_tables_and_texts_of_all_kinds(url):
    place = locate(url)
    prompts = pl.DataFrame({"text": ["a cat left of a dog", "a car"]})
    write_table(place / "prompts.parquet", prompts)
    (place / "prompts.csv").write_text(prompts.write_csv())
    (place / "prompts.txt").write_text("a cat left of a dog\na car\n")
    for ending in ("parquet", "csv", "txt"):
        file = f"{url}/prompts.{ending}"
        assert [p.text for p in load_prompts(file)] == prompts["text"].to_list()
        assert list(read_captions(locate(file)))[-2:] == prompts["text"].to_list()
    (place / "filters.yaml").write_text("- present\n- {filter: score, minimum: 0.5}\n")
    assert [one["filter"] for one in read_pipeline(f"{url}/filters.yaml")] == ["present", "score"]


def test_a_training_set_is_exported_to_a_store(url, tmp_path):
    with atomic_write(locate(f"{url}/one.png")) as file:
        drawing(1).save(file, "PNG")
    row = {"prompt_id": "0", "sample": 0, "path": f"{url}/one.png", "text": "a cat"}
    rows = pl.DataFrame([row | {"mirrored": False}], schema=EXPORT)
    there, here = export(rows, f"{url}/set", "kohya"), export(rows, tmp_path / "set", "kohya")
    assert contents(there) == contents(here)


def test_what_is_made_on_this_machine_only_says_so(url, tmp_path):
    with pytest.raises(InputError, match="a selection must be on this machine"):
        select(pl.LazyFrame(), [], f"{url}/selection.parquet")
    with pytest.raises(InputError, match="a folder for GenEval must be on this machine"):
        export_folder(Run.create(tmp_path / "run"), f"{url}/folder")
