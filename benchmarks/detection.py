"""Images per second of a detector: the bare model, this package from files, and the peers' way.

Same weights, same images, same names, one run. Random weights of the real size by default, because
speed does not depend on their values:

    python benchmarks/detection.py --images 12                      # two CPU cores
    python benchmarks/detection.py --device cuda --images 1024 --dtype bfloat16
    python benchmarks/detection.py --model google/owlvit-base-patch32

- bare: image tower and heads on tensors that are already prepared and on the device, text cached;
- ours: PNG files to rows of the detections table, through the detect stage's worker;
- ours, stage: the whole stage, loading the model and writing shards and tables included;
- peers: one image per call, processor and text tower each time (VISOR's and GenEval's loops).

The ways take turns and the best round of each counts; CPU seconds are printed beside the wall
clock, because they say more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from t2i_spatial.bundled.scenes import NOUNS, render, sample_scene
from t2i_spatial.detectors import resolve_detector
from t2i_spatial.detectors.loading import autocast
from t2i_spatial.prompts.sr2d import COCO_NAMES
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.batch_worker import BatchWorker
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.detect_worker import ROWS, DetectLooker
from t2i_spatial.stages.image_batches import items_of, plan_shards
from t2i_spatial.stages.import_images import import_images


def random_owl(folder: Path, kind: str) -> str:
    """Random weights of OWL-ViT-B/32 at 768 or OWLv2-B/16 at 960, with a byte-level tokenizer."""
    import transformers as tf
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = tf.CLIPTokenizer(
        vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=16
    )
    if kind == "owlvit":
        model = tf.OwlViTForObjectDetection(tf.OwlViTConfig())
        processor = tf.OwlViTProcessor(tf.OwlViTImageProcessor(), tokenizer)
    else:
        model = tf.Owlv2ForObjectDetection(tf.Owlv2Config(vision_config={"image_size": 960}))
        processor = tf.Owlv2Processor(tf.Owlv2ImageProcessor(), tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


class Times:
    """Best of several rounds, taken in turn, so that a busy machine hits all ways alike."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def add(self, what: str, work: Callable[[], Any], images: int) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        wall, cpu = (time.perf_counter() - wall) / images, (time.process_time() - cpu) / images
        self.wall[what] = min(wall, self.wall.get(what, wall))
        self.cpu[what] = min(cpu, self.cpu.get(what, cpu))


def bare(worker: BatchWorker, names: tuple[str, ...], batch: int) -> Callable[[], None]:
    """The forward pass alone, on one ready batch."""
    detector: Any = worker.looker.detector
    side = detector.model.config.vision_config.image_size
    pixels = torch.rand(batch, 3, side, side, device=detector.device)
    detector._embed(names)
    rows = [detector._rows[name] for name in names]
    text = detector._text[rows][None].expand(batch, -1, -1)

    def forward() -> None:
        with autocast(detector.device, detector.spec.dtype):
            grid, _ = detector.model.image_embedder(pixels)
        with autocast(detector.device, "float32"):
            grid = grid.float()
            tokens = grid.reshape(batch, -1, grid.shape[-1])
            detector.model.class_predictor(tokens, text)
            detector.model.box_predictor(tokens, grid)

    return forward


def peers(worker: BatchWorker, files: list[Path], names: tuple[str, ...]) -> Callable[[], None]:
    """One call per image with text and processor each time."""
    from transformers import AutoProcessor

    detector: Any = worker.looker.detector
    processor = AutoProcessor.from_pretrained(detector.spec.source)
    texts = [[f"a photo of a {name}"[:14] for name in names]]

    def loop() -> None:
        for file in files:
            with Image.open(file) as image:
                picture = image.convert("RGB")
            inputs = processor(
                text=texts, images=picture, return_tensors="pt", max_length=16, truncation=True
            ).to(detector.device)
            with torch.no_grad():
                outputs = detector.model(**inputs)
            processor.post_process_grounded_object_detection(
                outputs, threshold=0.1, target_sizes=[picture.size[::-1]]
            )

    return loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="hub id or folder; default: random weights of --kind")
    parser.add_argument("--kind", choices=["owlvit", "owlv2"], default="owlvit")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--names", type=int, default=80)
    parser.add_argument("--peers", type=int, help="images for the peers' way (default: 1/8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    names = COCO_NAMES[: args.names]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        source = args.model or random_owl(root / "model", args.kind)
        folder = root / "images"
        folder.mkdir()
        rng = np.random.default_rng(0)
        prompts = []
        for number in range(args.images):
            pixels, _ = render(sample_scene(rng, nouns=(NOUNS[number % len(NOUNS)],)), args.side)
            Image.fromarray(pixels).save(folder / f"{number}_0.png", compress_level=1)
            scene = SceneSpec(tuple(ObjectSpec(name) for name in names))
            prompts.append(Prompt(str(number), f"image {number}", scene=scene))
        run = Run.create(root / "run")
        import_images(run, folder, prompts)
        # a byte-level tokenizer without merges needs one token per letter
        template = "{name}" if args.model is None else None
        settings: dict[str, Any] = {"query_template": template, "threshold": 0.9}
        if args.model is None:
            names = tuple(name[:14] for name in names)
        size = args.batch_size if args.batch_size == "auto" else int(args.batch_size)
        spec = resolve_detector(source, dtype=args.dtype, compile=args.compile, **settings)
        worker = BatchWorker(DetectLooker(spec, args.device), ROWS, size)
        shards = plan_shards(items_of(run, run.images(), lambda row: names))
        worker(shards[0])  # warm-up: cuDNN, compile, batch size, text
        batch = int(worker.batch_size)
        forward = bare(worker, names, batch)
        repeats = max(1, args.images // batch)

        def limit() -> None:
            for _ in range(repeats):
                forward()

        def ours() -> None:
            for position, shard in enumerate(shards):
                for ahead in shards[position : position + 2]:
                    worker.prefetch(ahead)
                worker(shard)

        files = sorted(folder.iterdir())[: args.peers or max(2, args.images // 8)]
        loop = peers(worker, files, names)
        times = Times(args.device)
        for number in range(args.rounds):
            times.add("bare", limit, repeats * batch)
            times.add("ours", ours, args.images)
            shown = DetectSettings(
                detector=source,
                name=f"round{number}",
                device=args.device,
                dtype=args.dtype,
                compile=args.compile,
                batch_size=batch,
                vocabulary=names,
                **settings,
            )
            times.add("ours, stage", lambda shown=shown: detect_run(run, shown), args.images)
            times.add("peers", loop, len(files))
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
    print(f"{args.model or args.kind + ' random'}, {where}, {args.dtype}, batch {batch}, ", end="")
    print(f"{args.images} images of {args.side} px, {len(names)} names, best of {args.rounds}")
    print(f"{'':<12}{'images/s':>10}{'of bare':>9}{'x peers':>9}{'CPU s/image':>13}{'x peers':>9}")
    for what, wall in times.wall.items():
        cpu = times.cpu[what]
        print(f"{what:<12}{1 / wall:10.2f}{times.wall['bare'] / wall:9.2f}", end="")
        print(f"{times.wall['peers'] / wall:9.2f}{cpu:13.3f}{times.cpu['peers'] / cpu:9.2f}")


if __name__ == "__main__":
    main()
