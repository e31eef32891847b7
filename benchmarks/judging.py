"""What asking costs besides the judge itself; each figure is a ratio or a time of one run.

    python benchmarks/judging.py [--model FOLDER] [--requests 640] [--answers 1000000] \\
        [--protocols spatial_vqa,geneval2]

`http` holds a server that takes half a second for each of 32 requests at a time, and tells how
busy the client keeps it. `stored` judges so many stored answers by each protocol. `local` needs a
model: how long ten questions about one image take in units of one, and of a bare forward pass of
the same whole conversations.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.questions import ANSWERS, Question
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import IMAGES, SCORED, conform, prompts_to_table

WAYS = 32
SECONDS = 0.5
ANSWERED_BY = (
    *("spatial_vqa", "vqascore", "geneval2", "dsg", "dsg_strict", "tifa", "spatialgeneval"),
    *("spatialgeneval_strict", "unigenbench_strict", "t2i_compbench_mllm"),
)
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
    port: queue.SimpleQueue[int] = queue.SimpleQueue()
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
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    return port.get()


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


OPTIONS = "Options: A: one, B: two, C: three, D: four, E: None"


def brought(k: int, record: str) -> dict[str, object]:
    """What a prompt of a peer brings along."""
    atoms = [f"Is there thing {k} of {n}?" for n in range(4)]
    dsg = [
        {
            "question_natural_language": text,
            "dependency": str(n and 1),
            "category_broad": "entity",
            "proposition_id": n + 1,
        }
        for n, text in enumerate(atoms)
    ]
    choices = ["one", "two", "three"]
    tifa = [
        {"question": text, "choices": choices, "answer": "two", "element_type": "object"}
        for text in atoms
    ]
    records: dict[str, object] = {
        "geneval2": {"vqa_list": [[text, "Yes"] for text in atoms], "skills": ["object"] * 4},
        "dsg": dsg,
        "tifa": tifa,
        "spatialgeneval": {
            "questions": [f"Question {k} of {n}?  {OPTIONS}" for n in range(10)],
            "answers": list("CBDACCBDAC"),
        },
        "unigenbench": {
            "Testpoints": ["Layout-2D Space", "Layout-3D Space"],
            "Testpoint Description": atoms[:2],
        },
    }
    return {record: records[record]} if record in records else {}


def said(question: dict[str, object]) -> dict[str, object]:
    """A right reply as each kind of question has it."""
    gold = str(question["gold"] or '{"score": 90, "explanation": ""}')
    raw = "\n".join(f"{letter}: so" for letter in gold) if question["kind"] == "letters" else gold
    return {"answer": gold, "raw": raw, "status": "answered"}


def stored(protocol: AnswerMetric, answers: int, samples: int = 4) -> None:
    """Judge so many stored answers; the processor's time, since others may share the machine."""
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    record = str(getattr(protocol, "record", ""))
    one = prompts_to_table([Prompt("p", "x", scene=scene, metadata=brought(0, record))])
    times = protocol.enough or protocol.rollouts
    each = max(1, len(protocol.questions(one))) * samples * times
    made = [
        Prompt(f"p{k}", f"x {k}", scene=scene, metadata=brought(k, record))
        for k in range(max(1, answers // each))
    ]
    prompts = prompts_to_table(made)
    questions = protocol.questions(prompts)
    replies = [said(row) for row in questions.select("gold", "kind").iter_rows(named=True)]
    table = (
        questions.select("prompt_id", "question_id")
        .hstack(pl.DataFrame(replies))
        .join(pl.DataFrame({"sample": range(samples)}), how="cross")
        .join(pl.DataFrame({"rollout": range(times)}), how="cross")
    )
    rows = prompts.select("prompt_id").join(pl.DataFrame({"sample": range(samples)}), how="cross")
    images = conform(
        rows.with_columns(pl.lit(SCORED).alias("status"), image=pl.lit("")), IMAGES, ""
    )
    whole = conform(table, ANSWERS, "answers")
    begun, cpu = time.perf_counter(), time.process_time()
    verdicts = protocol.judge_answers(prompts, images, whole)
    cpu, judged = time.process_time() - cpu, time.perf_counter() - begun
    assert verdicts["value"].null_count() == 0
    begun = time.perf_counter()
    protocol.summarize(verdicts, prompts)
    summarised = time.perf_counter() - begun
    print(
        f"stored  {protocol.name:<24}{len(whole):>10,} answers, {len(images):>8,} images: judged "
        f"{judged:6.2f} s ({cpu:5.2f} s of processor), summarised {summarised:5.2f} s"
    )


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
    parser.add_argument("--protocols", default=",".join(ANSWERED_BY))
    given = parser.parse_args()
    if given.requests:
        http(given.requests)
    for name in given.protocols.split(","):
        stored(PROTOCOLS[name](), given.answers)
    if given.model is not None:
        local(str(given.model))
