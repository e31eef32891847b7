"""The detect stage: every expected image gets a row, whatever its file holds."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError, PlanMismatchError, T2ISpatialError
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages import detect_worker, image_batches
from t2i_spatial.stages.batch_worker import BatchWorker
from t2i_spatial.stages.color import color_run
from t2i_spatial.stages.curate import CurateSettings, curate_run
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.image_batches import Item
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.score import make_protocols, score_run
from tests.detectors import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.owl(tmp_path_factory.mktemp("owl"), "owlvit"))


def prompt(id: str, *names: str) -> Prompt:
    scene = SceneSpec(tuple(ObjectSpec(name) for name in names)) if names else None
    return Prompt(id, f"prompt {id}", scene=scene)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def make_run(
    folder: Path, images: dict[str, Image.Image], prompts: list[Prompt] | None = None
) -> Run:
    (folder / "images").mkdir()
    for name, image in images.items():
        image.save(folder / "images" / f"{name}.png")
    ids = dict.fromkeys(name.rpartition("_")[0] for name in images)
    run = Run.create(folder / "run")
    import_images(run, folder / "images", prompts or [prompt(id, "cat", "dog") for id in ids])
    return run


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_boxes_do_not_depend_on_batches_sizes_or_order(tmp_path: Path, model: str) -> None:
    sizes = [(40, 30), (30, 40), (40, 30), (64, 64), (40, 30), (30, 40), (40, 30)]
    images = {f"p{i}_0": picture(*size, seed=i) for i, size in enumerate(sizes)}
    run = make_run(tmp_path, images)
    for name, batch in (("one", 1), ("three", 3), ("auto", "auto")):
        detect_run(run, DetectSettings(detector=model, name=name, batch_size=batch, threshold=0.5))
    one, three, auto = (run.detections(name) for name in ("one", "three", "auto"))
    assert one["prompt_id"].to_list() == [f"p{i}" for i in range(7)]
    assert one["status"].unique().to_list() == ["scored"]
    assert one["detections"].list.len().sum() > 0
    for other in (three, auto):
        for a, b in zip(one["detections"], other["detections"], strict=True):
            assert [d["label"] for d in a] == [d["label"] for d in b]
            np.testing.assert_allclose(
                [d["box"] for d in a], [d["box"] for d in b], atol=1e-3, rtol=0
            )


def test_every_kind_of_file_gets_a_row_with_a_status(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    good = picture(40, 30)
    good.save(folder / "rgb_0.png")
    good.convert("L").save(folder / "grey_0.png")
    good.convert("RGBA").save(folder / "rgba_0.png")
    good.convert("CMYK").save(folder / "cmyk_0.jpg")
    good.convert("P").save(folder / "palette_0.gif", save_all=True, append_images=[good] * 2)
    Image.fromarray(np.full((30, 40), 40_000, dtype=np.uint16)).save(folder / "deep_0.png")
    picture(1, 1).save(folder / "dot_0.png")
    Image.new("RGB", (12_000, 100), "red").save(folder / "wide_0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    good.save(folder / "turned_0.jpg", exif=exif)
    whole = (folder / "rgb_0.png").read_bytes()
    (folder / "cut_0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text_0.png").write_text("not an image")
    (folder / "empty_0.png").write_bytes(b"")
    (folder / "huge_0.png").write_bytes(png_header(20_000, 20_000))
    ids = [path.stem[:-2] for path in sorted(folder.iterdir())] + ["absent"]
    run = Run.create(tmp_path / "run")
    import_images(run, folder, [prompt(id, "cat") for id in ids])
    detect_run(run, DetectSettings(detector=model, threshold=0.2))
    rows = {row["prompt_id"]: row for row in run.detections().iter_rows(named=True)}
    unreadable = {"cut", "text", "empty", "huge"}
    for id in ids:
        status = "image_missing" if id == "absent" else "scored"
        status = "image_unreadable" if id in unreadable else status
        assert rows[id]["status"] == status, rows[id]
        assert (rows[id]["detections"] is None) == (status != "scored")
        assert bool(rows[id]["reason"]) == (status != "scored")
    assert "limit" in rows["huge"]["reason"]
    assert (rows["turned"]["width"], rows["turned"]["height"]) == (30, 40)
    results = run.manifest["stages"]["detect"]["results"]
    assert results["expected"] == len(ids)
    assert results["statuses"] == {"scored": 9, "image_unreadable": 4, "image_missing": 1}


def test_an_image_that_vanishes_or_breaks_after_import(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, {f"p_{i}": picture(40, 30, i) for i in range(4)})
    (tmp_path / "images" / "p_1.png").unlink()
    (tmp_path / "images" / "p_2.png").write_text("broken")
    detect_run(run, DetectSettings(detector=model))
    assert run.detections()["status"].to_list() == [
        "scored",
        "image_missing",
        "image_unreadable",
        "scored",
    ]
    for sample in (1, 2):
        picture(40, 30, sample).save(tmp_path / "images" / f"p_{sample}.png")
    detect_run(run, DetectSettings(detector=model))
    assert "2 images that were missing or unreadable are there now" in capsys.readouterr().err
    assert run.detections()["status"].to_list() == ["scored"] * 4


def test_of_images_that_came_back_only_their_batch_is_looked_at_again(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of a run which never lost them, also after a re-import and a kill."""
    monkeypatch.setattr(image_batches, "SHARD_IMAGES", 2)
    images = {f"p_{i}": picture(40, 30, i) for i in range(6)}
    run = make_run(tmp_path, images)
    settings = DetectSettings(detector=model, threshold=0.3)
    detect_run(run, settings.model_copy(update={"name": "whole"}))
    folder, kept = tmp_path / "images", tmp_path / "kept"
    kept.mkdir()
    for name in ("p_0.png", "p_1.png", "p_5.png"):
        (folder / name).rename(kept / name)
    import_images(run, folder, [prompt("p", "cat", "dog")], 6)  # p_0, p_1 and p_5 are not there
    detect_run(run, settings)
    assert run.detections()["status"].to_list().count("image_missing") == 3
    detect_run(run, settings, overwrite=False)
    for name in ("p_0.png", "p_5.png", "p_1.png"):
        (kept / name).rename(folder / name)
    import_images(run, folder, [prompt("p", "cat", "dog")], 6)
    color_run(run, "pixels")
    looked: list[int] = []
    call = BatchWorker.__call__

    def counted(self: BatchWorker, batch: list[Item]) -> pl.DataFrame:
        looked.extend(item.sample for item in batch)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return call(self, batch)

    monkeypatch.setattr(BatchWorker, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        detect_run(run, settings)
    with pytest.raises(InputError, match="not finished"):
        run.detections()
    detect_run(run, settings)
    assert looked == [0, 1, 4, 5, 4, 5]
    assert run.detections().equals(run.detections("whole"))
    assert "color" not in run.manifest["stages"]


def test_replaced_pictures_are_refused_and_copied_ones_are_not(tmp_path: Path, model: str) -> None:
    run = make_run(tmp_path, {f"p_{i}": picture(40, 30, i) for i in range(3)})
    settings = DetectSettings(detector=model, threshold=0.3)
    detect_run(run, settings)
    before = run.detections()
    file = tmp_path / "images" / "p_1.png"
    content = file.read_bytes()
    file.write_bytes(content)  # another time of change, the same picture
    detect_run(run, settings)
    score_run(run, make_protocols(["visor"]))
    picture(40, 30, 9).save(file)
    for stage in (
        lambda: detect_run(run, settings),
        lambda: color_run(run, "pixels"),
        lambda: score_run(run, make_protocols(["visor"])),
        lambda: curate_run(run, CurateSettings(min_images=1)),
    ):
        with pytest.raises(PlanMismatchError, match=r"1 pictures are not .*sample 1\)"):
            stage()
    assert run.detections().equals(before)
    detect_run(run, settings, overwrite=True)
    assert run.detections()[0].equals(before[0])
    assert not run.detections()[1].equals(before[1])
    score_run(run, make_protocols(["visor"]))


def test_a_finished_stage_keeps_the_record_of_how_it_was_made(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {"p_0": picture(40, 30)})
    settings = DetectSettings(detector=model)
    detect_run(run, settings)
    run.note("detect", canary={"passed": True})
    before = (run.path / "run.json").read_bytes()
    monkeypatch.setattr("t2i_spatial.stages.detect.environment", lambda: {"python": "99"})
    detect_run(run, settings)
    assert (run.path / "run.json").read_bytes() == before


def test_prompts_without_scene_and_phrases_that_cannot_be_asked(tmp_path: Path, model: str) -> None:
    prompts = [prompt("plain"), prompt("long", "cat " * 100), prompt("fine", "cat", "cat")]
    run = make_run(tmp_path, {f"{p.id}_0": picture(40, 30) for p in prompts}, prompts)
    detect_run(run, DetectSettings(detector=model, threshold=0.0))
    table = run.detections()
    assert table["status"].to_list() == ["not_applicable", "detector_failed", "scored"]
    assert "no scene" in table["reason"][0]
    assert "tokens" in table["reason"][1]
    assert len(table["detections"][2]) == 16


def test_vocabulary_asks_every_name_of_every_image(tmp_path: Path, model: str) -> None:
    run = make_run(tmp_path, {"p_0": picture(40, 30)}, [prompt("p")])
    settings = DetectSettings(
        detector=model, vocabulary=("bus", "cup"), query_mode="each", threshold=0.0
    )
    detect_run(run, settings)
    assert {d["label"] for d in run.detections()["detections"][0]} == {"bus", "cup"}


def test_finished_is_left_alone_and_another_plan_is_refused(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {f"p_{i}": picture(40, 30, i) for i in range(3)})
    settings = DetectSettings(detector=model, threshold=0.5)
    detect_run(run, settings)
    before = run.detections()
    with monkeypatch.context() as patch:
        patch.setattr(detect_worker, "load_detector", lambda *_, **__: pytest.fail("model loaded"))
        detect_run(run, settings.model_copy(update={"batch_size": 2, "device": "cpu"}))
    assert run.detections().equals(before)
    with pytest.raises(PlanMismatchError, match=r"threshold: 0\.5 there, 0\.9 now"):
        detect_run(run, DetectSettings(detector=model, threshold=0.9))
    detect_run(run, DetectSettings(detector=model, threshold=0.9), overwrite=True)
    fewer = run.detections()["detections"].list.len().sum()
    assert fewer < before["detections"].list.len().sum()


def test_an_interrupted_run_goes_on_to_the_same_table(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"p{w}_{i}": picture(w, 30, i) for w in (20, 30, 40) for i in range(2)}
    monkeypatch.setattr(image_batches, "SHARD_IMAGES", 2)
    run = make_run(tmp_path, images)
    settings = DetectSettings(detector=model, threshold=0.3)
    detect_run(run, settings.model_copy(update={"name": "whole"}))
    call = BatchWorker.__call__
    calls: list[int] = []

    def interrupted(self: BatchWorker, batch: list[object]) -> pl.DataFrame:
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return call(self, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(BatchWorker, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            detect_run(run, settings)
    assert not run.has("detections/main.parquet")
    calls.clear()
    monkeypatch.setattr(BatchWorker, "__call__", lambda s, b: (calls.append(len(b)), call(s, b))[1])
    detect_run(run, settings)
    assert calls == [2]
    assert run.detections().equals(run.detections("whole"))


class _Failing:
    """Stands before a detector and fails as told."""

    def __init__(self, detector: object, fails: object) -> None:
        self.__dict__.update(detector=detector, fails=fails, sizes=[])

    def __getattr__(self, name: str) -> object:
        return getattr(self.detector, name)

    def forward(self, prepared: list[object], *rest: object) -> object:
        self.sizes.append(len(prepared))
        if error := self.fails(prepared):
            raise error
        return self.detector.forward(prepared, *rest)


def test_out_of_memory_halves_the_batch_and_says_so(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    run = make_run(tmp_path, {f"p_{i}": picture(40, 30, i) for i in range(12)})
    load = detect_worker.load_detector
    made: list[_Failing] = []

    def loading(*args: object, **kwargs: object) -> object:
        def fails(prepared: list[object]) -> Exception | None:
            return torch.OutOfMemoryError("CUDA out of memory") if len(prepared) > 2 else None

        made.append(_Failing(load(*args, **kwargs), fails))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(detect_worker, "load_detector", loading)
    detect_run(run, DetectSettings(detector=model, batch_size=8))
    assert run.detections()["status"].to_list() == ["scored"] * 12
    assert made[0].sizes[0] == 8
    assert max(made[0].sizes[-2:]) <= 2 or made[0].sizes.count(8) == 1
    assert "out of memory with 8 images at a time; going on with 4" in capsys.readouterr().err


def test_one_image_that_breaks_the_detector_does_not_take_the_others_along(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"p_{i}": picture(40, 30, i) for i in range(5)}
    images["p_3"] = Image.new("RGB", (40, 30), (1, 2, 3))
    run = make_run(tmp_path, images)
    load = detect_worker.load_detector

    def loading(*args: object, **kwargs: object) -> object:
        def fails(prepared: list[object]) -> Exception | None:
            bad = any(int(tensor[0].max()) == 1 for tensor in prepared)  # type: ignore[index]
            return RuntimeError("strange picture\nwith details") if bad else None

        return _Failing(load(*args, **kwargs), fails)  # type: ignore[arg-type]

    monkeypatch.setattr(detect_worker, "load_detector", loading)
    detect_run(run, DetectSettings(detector=model, batch_size=4))
    table = run.detections()
    assert table["status"].to_list() == [
        "scored" if i != 3 else "detector_failed" for i in range(5)
    ]
    assert table["reason"][3] == "strange picture"


def test_a_detector_that_fails_on_everything_is_an_error(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {"p_0": picture(40, 30)})
    load = detect_worker.load_detector
    monkeypatch.setattr(
        detect_worker,
        "load_detector",
        lambda *a, **k: _Failing(load(*a, **k), lambda _: RuntimeError("no kernel image")),
    )
    with pytest.raises(T2ISpatialError, match=r"every image.*no kernel image"):
        detect_run(run, DetectSettings(detector=model))
    assert not run.has("detections/main.parquet")


NAMES = ("cat", "dog", "bus", "cup", "owl", "car", "hat", "pen")


def test_boxes_do_not_depend_on_what_was_asked_before(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain, resumed and backwards: the names meet the text tower in another order each time."""
    monkeypatch.setattr(image_batches, "SHARD_IMAGES", 2)
    prompts = [prompt(f"p{k}", NAMES[k], *NAMES[: k % 4]) for k in range(8)]
    run = make_run(tmp_path, {f"p{k}_0": picture(40, 30, k) for k in range(8)}, prompts)
    settings = DetectSettings(detector=model, threshold=0.0)
    detect_run(run, settings.model_copy(update={"name": "plain"}))
    plain = (run.path / "detections" / "plain.parquet").read_bytes()
    for name, done in (("first", {0, 1}), ("middle", {1, 2}), ("last", {0, 1, 2})):
        with monkeypatch.context() as patch:
            patch.setattr("t2i_spatial.stages.detect.run_batches", _only(done))
            with pytest.raises(KeyboardInterrupt):
                detect_run(run, settings.model_copy(update={"name": name}))
        detect_run(run, settings.model_copy(update={"name": name}))
        assert (run.path / "detections" / f"{name}.parquet").read_bytes() == plain


def _only(numbers: set[int]) -> object:
    """`run_batches` that does only some batches, in a process that is killed then."""

    def some(run: Run, stage: str, shards: list[list[Item]], workers: object, **_: object) -> None:
        worker = workers("cpu")  # type: ignore[operator]
        for number in sorted(numbers, reverse=True):
            run.shards(stage).write(number, worker(shards[number]))
        raise KeyboardInterrupt

    return some


@pytest.mark.slow
def test_two_processes_give_the_same_table(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_batches, "SHARD_IMAGES", 1)
    images = {f"p{w}_0": picture(w, 30, w) for w in (20, 30, 40)}
    run = make_run(tmp_path, images, [prompt(f"p{w}", *NAMES[: w // 10]) for w in (20, 30, 40)])
    settings = DetectSettings(detector=model, threshold=0.5)
    detect_run(run, settings.model_copy(update={"name": "one", "device": "cpu"}))
    detect_run(run, settings.model_copy(update={"device": "cpu,cpu"}))
    assert run.detections().equals(run.detections("one"))


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r"[Ee]xtra"):
        DetectSettings(detektor="bundled")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="letters, digits"):
        DetectSettings(name="../x")


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "all", "0"])
def test_a_batch_size_is_a_number_above_zero_or_auto(size: object) -> None:
    with pytest.raises(ValueError, match=r"above 0 .*, or auto"):
        DetectSettings(batch_size=size)  # type: ignore[arg-type]


def test_command_on_a_folder_then_on_the_run(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    picture(40, 30).save(folder / "7_0.png")
    (tmp_path / "prompts.jsonl").write_text(
        '{"id": "7", "text": "a cat", "scene": {"objects": [{"name": "cat"}], "relations": []}}\n'
    )
    run = str(tmp_path / "run")
    common = ["detect", run, "--detector", model, "--threshold", "0.4"]
    made = CliRunner().invoke(
        main, [*common, "--images", str(folder), "--prompts", str(tmp_path / "prompts.jsonl")]
    )
    assert made.exit_code == 0, made.output
    assert "in 1 of 1 expected images" in made.stdout
    second = CliRunner().invoke(main, [*common, "--name", "second", "--json"])
    assert second.exit_code == 0, second.output
    assert '"expected": 1' in second.stdout
    assert Run.open(run).detections("second").equals(Run.open(run).detections())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--detector", "no/such-model"], 1, "HF_HUB_OFFLINE"),
        (["--batch-size", "0"], 2, "above 0"),
        (["--option", "x"], 2, "KEY=VALUE"),
        (["--name", "a/b"], 2, "letters"),
        (["--prompts", "x.jsonl"], 2, "--images"),
        (["--device", "cuda:77"], 1, "cuda:77"),
    ],
)
def test_command_errors_are_one_line(
    tmp_path: Path, model: str, arguments: list[str], code: int, message: str
) -> None:
    run = make_run(tmp_path, {"p_0": picture(40, 30)})
    start = ["detect", str(run.path)]
    if "--detector" not in arguments:
        start += ["--detector", model]
    result = CliRunner().invoke(main, [*start, *arguments])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
