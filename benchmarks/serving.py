"""Images per second through HTTP against the same model in this process, and against the peer.

    python benchmarks/serving.py --seconds 20                       # two CPU cores
    python benchmarks/serving.py --detector random-owl --per-request 8 --batch 8 --seconds 40
    python benchmarks/serving.py --device cuda --detector google/owlv2-base-patch16-ensemble

`random-owl` is OWL-ViT-B/32 with random weights: the time is that of the real one.

Ways, taking turns in one run on the same images and prompts:

- in process: `LocalScorer` on batches of the server's size, from decoded images;
- server: `t2i-spatial serve` as a process of its own, multipart requests from a few clients, once
  with PNG (exact, the client's default) and once with JPEG;
- peer: the design of flow_grpo's reward server on the same detector and judge: one blocking worker,
  a pickled request of JPEGs at a time. It unpickles, so it listens to this benchmark only.

Only loopback; clients, requests and seconds are bounded. CPU seconds of the process tree are
printed beside the wall clock, because they say more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from detection import random_owl
from PIL import Image

from t2i_spatial import bundled
from t2i_spatial.rewards import Client, LocalScorer

RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above"}


def make_inputs(count: int, side: int) -> tuple[list[Image.Image], list[str]]:
    rng = np.random.default_rng(0)
    images, prompts = [], []
    for number in range(count):
        first, second = rng.choice(bundled.NOUNS, 2, replace=False)
        relation = list(RELATIONS)[number % len(RELATIONS)]
        scene = bundled.sample_scene(rng, nouns=(str(first), str(second)), relation=relation)
        images.append(Image.fromarray(bundled.render(scene, side=side)[0]))
        prompts.append(f"a {first} {RELATIONS[relation]} a {second}")
    return images, prompts


def tree_seconds(pids: list[int]) -> float:
    """CPU seconds of processes and their living children."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / ticks
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        waiting += [int(child) for child in children]
    return total


def tree_megabytes(pid: int) -> float:
    """Proportional memory of a process and its children."""
    total, waiting = 0.0, [pid]
    while waiting:
        pid = waiting.pop()
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            waiting += [
                int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            ]
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) / 1024
    return total


class PeerServer:
    """One blocking worker that unpickles, decodes, detects and answers, one request at a time."""

    def __init__(self, scorer: LocalScorer) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                asked = pickle.loads(self.rfile.read(length))  # noqa: S301 - the peer's way
                images = [Image.open(io.BytesIO(data)).convert("RGB") for data in asked["images"]]
                rewards = [item.reward for item in scorer(images, asked["meta_datas"])]
                body = pickle.dumps({"scores": rewards})
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(self, images: list[Image.Image], prompts: list[str]) -> None:
        jpegs = []
        for image in images:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG")
            jpegs.append(buffer.getvalue())
        # the peer's client opens a connection per worker; a fresh one costs nothing here
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=120)
        connection.request("POST", "/", pickle.dumps({"images": jpegs, "meta_datas": prompts}))
        answer = pickle.loads(connection.getresponse().read())  # noqa: S301 - our own answer
        assert len(answer["scores"]) == len(images)
        connection.close()


def load(
    ask: Callable[[int, int], None], clients: int, per_request: int, seconds: float
) -> tuple[int, float, list[float]]:
    """Clients that ask again and again for some seconds: images, wall clock, latencies."""
    latencies: list[float] = []
    lock = threading.Lock()
    begun = time.monotonic()

    def client(number: int) -> None:
        turn = 0
        while time.monotonic() - begun < seconds:
            start = time.monotonic()
            ask(number, turn)
            with lock:
                latencies.append(time.monotonic() - start)
            turn += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(latencies) * per_request, time.monotonic() - begun, latencies


def start_server(arguments: argparse.Namespace) -> tuple[subprocess.Popen[bytes], str]:
    log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - lives as long as the server
    command = [sys.executable, "-m", "t2i_spatial.cli.main", "serve", "--port", "0"]
    command += ["--detector", arguments.detector, "--device", arguments.device]
    command += ["--max-batch", str(arguments.batch)]
    if arguments.threshold is not None:
        command += ["--threshold", str(arguments.threshold)]
    process = subprocess.Popen(command, stderr=log)
    for _ in range(600):
        found = re.search(r"serving on (http://\S+)", Path(log.name).read_text())
        if found or process.poll() is not None:
            break
        time.sleep(0.2)
    if not found:
        raise SystemExit(Path(log.name).read_text())
    return process, found[1]


def report(name: str, images: int, wall: float, cpu: float, latencies: list[float]) -> dict:
    p50, p95, p99 = (1e3 * float(np.percentile(latencies, q)) for q in (50, 95, 99))
    row = {
        "way": name,
        "images/s": round(images / wall, 1),
        "images per CPU s": round(images / cpu, 1),
        "p50 ms": round(p50),
        "p95 ms": round(p95),
        "p99 ms": round(p99),
    }
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--detector", default="bundled")
    parser.add_argument("--threshold", type=float, help="of the detector")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, default=512, help="pixels of the images")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--per-request", type=int, default=16)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15.0, help="per way and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--long", type=float, default=0.0, help="seconds of the memory run")
    options = parser.parse_args()
    images, prompts = make_inputs(options.per_request, options.side)
    if options.detector == "random-owl":
        options.detector = random_owl(Path(tempfile.mkdtemp(prefix="owl-")), "owlvit")
        options.threshold = options.threshold or 0.99
    scorer = LocalScorer(
        options.detector,
        device=options.device,
        batch_size=options.batch,
        threshold=options.threshold,
    )
    scorer(images, prompts)
    process, url = start_server(options)
    peer = PeerServer(scorer)
    clients = {
        kind: [Client(url, image_format=kind) for _ in range(options.clients)]
        for kind in ("PNG", "JPEG")
    }
    results: dict[str, list[dict]] = {}
    ways: dict[str, tuple[Callable[[int, int], None], int, list[int]]] = {
        "in process": (lambda _, __: scorer(images, prompts) and None, 1, [os.getpid()]),
        "server": (
            lambda n, _: clients["PNG"][n](images, prompts) and None,
            options.clients,
            [os.getpid(), process.pid],
        ),
        "server, JPEG": (
            lambda n, _: clients["JPEG"][n](images, prompts) and None,
            options.clients,
            [os.getpid(), process.pid],
        ),
        "peer": (lambda _, __: peer.ask(images, prompts), options.clients, [os.getpid()]),
    }
    try:
        clients["PNG"][0](images, prompts)
        for _ in range(options.rounds):
            for name, (ask, count, pids) in ways.items():
                # the benchmark is itself a parent of the server: count its own seconds alone
                before = own_seconds(pids)
                done = load(ask, count, options.per_request, options.seconds)
                cpu = own_seconds(pids) - before
                results.setdefault(name, []).append(report(name, done[0], done[1], cpu, done[2]))
        best = {n: max(r["images/s"] for r in rows) for n, rows in results.items()}
        lean = {n: max(r["images per CPU s"] for r in rows) for n, rows in results.items()}
        for name in ("server", "server, JPEG"):
            for other in ("in process", "peer"):
                print(f"{name} / {other}: {best[name] / best[other]:.2f} wall clock, "
                      f"{lean[name] / lean[other]:.2f} per CPU second")  # fmt: skip
        if options.long:
            memory = []
            for _ in range(6):
                load(ways["server"][0], options.clients, options.per_request, options.long / 6)
                memory.append(round(tree_megabytes(process.pid)))
            print(f"memory of the server in MB over {options.long:.0f} s of load: {memory}")
    finally:
        process.terminate()
        print(f"the server stopped with code {process.wait(60)}")


def own_seconds(pids: list[int]) -> float:
    """CPU seconds of this process, and of the server's tree when it is among `pids`."""
    own = sum(os.times()[:2])
    return own + sum(tree_seconds([pid]) for pid in pids if pid != os.getpid())


if __name__ == "__main__":
    main()
