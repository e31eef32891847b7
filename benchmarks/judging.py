"""What asking costs besides the judge itself; each figure is a ratio or a time of one run.

    python benchmarks/judging.py [--model FOLDER] [--requests 640] [--answers 1000000]

`http` holds a server that takes half a second for each of 32 requests at a time, and tells how
busy the client keeps it. `stored` judges so many stored answers. `local` needs a model: how long
ten questions about one image take in units of one, and of a bare forward pass of the same whole
conversations.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.metrics.spatial_vqa import SpatialVQA
from t2i_spatial.questions import Question
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import IMAGES, SCORED, conform, prompts_to_table

WAYS = 32
SECONDS = 0.5
REPLY = json.dumps(
    {"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}], "model": "m"}
).encode()


def picture(side: int = 256) -> Picture:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    file = tempfile.NamedTemporaryFile(suffix=".png", delete=False)  # noqa: SIM115
    file.write(buffer.getvalue())
    file.close()
    return Picture(file.name, buffer.getvalue())


def serve() -> int:
    """A server that takes `WAYS` requests at a time; returns its port."""
    ready: list[int] = []
    free = asyncio.Semaphore(WAYS)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next(
                    int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length")
                )
                await reader.readexactly(length)
                async with free:
                    await asyncio.sleep(SECONDS)
                size = str(len(REPLY)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: " + size + b"\r\n\r\n" + REPLY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(one, "127.0.0.1", 0, limit=2**24)
        ready.append(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    while not ready:
        time.sleep(0.01)
    return ready[0]


def best(work: Callable[[], object], times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def http(requests: int) -> None:
    options = {"probe": False, "logprobs": "off", "concurrency": WAYS, "max_concurrency": WAYS}
    judge = load_judge(f"http://127.0.0.1:{serve()}/v1", model="m", options=options)
    shown = picture(64)
    asked = [Asked(Question(f"Is there thing {k}?")) for k in range(requests)]
    judge.ask(shown, asked[:WAYS])
    begun = time.perf_counter()
    replies = judge.ask(shown, asked)
    taken = time.perf_counter() - begun
    judge.close()
    assert all(reply.answer == "yes" for reply in replies)
    ideal = requests / WAYS * SECONDS
    print(f"http    {requests} requests, {WAYS} at a time: busy {ideal / taken:.1%}")


def stored(answers: int) -> None:
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    protocol = SpatialVQA()
    count = max(1, answers // 32)
    prompts = prompts_to_table([Prompt(f"p{k}", "x", scene=scene) for k in range(count)])
    questions = protocol.questions(prompts)
    table = (
        questions.select("prompt_id", "question_id", pl.col("gold").alias("answer"))
        .join(pl.DataFrame({"sample": range(4)}), how="cross")
        .join(pl.DataFrame({"rollout": range(2)}), how="cross")
        .with_columns(pl.lit("answered").alias("status"))
    )
    rows = prompts.select("prompt_id").join(pl.DataFrame({"sample": range(4)}), how="cross")
    images = conform(
        rows.with_columns(pl.lit(SCORED).alias("status"), image=pl.lit("")), IMAGES, ""
    )
    from t2i_spatial.questions import ANSWERS

    whole = conform(table, ANSWERS, "answers")
    begun = time.perf_counter()
    verdicts = protocol.judge_answers(prompts, images, whole)
    judged = time.perf_counter() - begun
    begun = time.perf_counter()
    protocol.summarize(verdicts, prompts)
    summarised = time.perf_counter() - begun
    print(f"stored  {len(whole):,} answers: judged {judged:.2f} s, summarised {summarised:.2f} s")


def local(model: str) -> None:
    judge = load_judge(f"transformers:{model}")
    shown = picture()
    words = ("cat", "dog", "cup", "bus", "car", "bird", "boat", "cake", "book", "clock")
    asked = [Asked(Question(f"Is there a {word} in the image?")) for word in words]
    one = best(lambda: judge.ask(shown, asked[:1]))
    ten = best(lambda: judge.ask(shown, asked))
    image = shown.decoded()
    before, after = judge._around(asked[0])
    texts = [before + a.text + after for a in asked]
    bare = best(lambda: judge._whole(image, texts))
    print(f"local   ten questions: {ten / one:.2f} of one, {ten / bare:.2f} of a bare batched pass")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--requests", type=int, default=640)
    parser.add_argument("--answers", type=int, default=1_000_000)
    given = parser.parse_args()
    http(given.requests)
    stored(given.answers)
    if given.model is not None:
        local(str(given.model))
