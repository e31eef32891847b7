"""`t2i-spatial serve`: the scorer as an HTTP reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.detector_options import detector_options


@click.command("serve")
@click.option(
    "--host", default="127.0.0.1", help="Address to bind; others than loopback need a token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=18085, help="Port; 0 takes a free one."
)
@detector_options
@click.option("--device", default="auto", help="Devices, one worker each; e.g. cuda:0,cuda:1.")
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="Protocol or protocol.component; may be repeated.  [default: spatial]",
)
@click.option("--protocol", "-p", "protocols", multiple=True, help="Further protocol to judge by.")
@click.option("--color", help="Colour method for boxes: pixels, clip or clip:MODEL.")
@click.option(
    "--max-batch", type=click.IntRange(min=1), default=16, help="Images per forward pass."
)
@click.option(
    "--max-wait", type=float, default=0.005, help="Seconds an idle worker waits for more."
)
@click.option(
    "--queue", "max_queue", type=click.IntRange(min=1), default=512, help="Most images held."
)
@click.option("--max-images", type=click.IntRange(min=1), default=64, help="Images per request.")
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=64_000_000, help="Bytes per request."
)
@click.option(
    "--max-pixels", type=click.IntRange(min=1), default=16_777_216, help="Pixels per image."
)
@click.option("--timeout", type=click.FloatRange(min=1), default=120.0, help="Seconds per request.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the token clients must send (or set T2I_SPATIAL_SERVE_TOKEN).",
)
@click.option(
    "--flow-grpo-compat",
    is_flag=True,
    help="Answer flow_grpo's GenEval client on POST / (its pickles are read as data only).",
)
@click.option(
    "--compat-protocol",
    type=click.Choice(["geneval_reward_fixed", "geneval_reward"]),
    default="geneval_reward_fixed",
    help="Reward of that endpoint; geneval_reward is the peer's own, quirks included.",
)
def command(
    host: str,
    port: int,
    device: str,
    rewards: tuple[str, ...],
    protocols: tuple[str, ...],
    color: str | None,
    max_batch: int,
    max_wait: float,
    max_queue: int,
    max_images: int,
    max_bytes: int,
    max_pixels: int,
    timeout: float,
    token_file: Path | None,
    flow_grpo_compat: bool,
    compat_protocol: str,
    detector: str,
    **asked: Any,
) -> None:
    """Serve rewards over HTTP: POST /score, GET /health, /version, /metrics.

    Stops on Ctrl-C or SIGTERM after answering what it has accepted.
    """
    from t2i_spatial.detectors import resolve_detector
    from t2i_spatial.devices import resolve_devices
    from t2i_spatial.rewards.server.serve import read_token, serve
    from t2i_spatial.rewards.server.settings import ServerSettings, is_loopback
    from t2i_spatial.scoring.core import RewardSpec

    settings = ServerSettings(
        detector=resolve_detector(detector, **asked),
        reward=RewardSpec.parse(rewards),
        protocols=protocols,
        color=color,
        compat=compat_protocol if flow_grpo_compat else None,
        max_batch=max_batch,
        max_wait=max_wait,
        max_queue=max_queue,
        max_images=max_images,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        timeout=timeout,
        token=read_token(token_file),
        local_only=is_loopback(host),
    )
    serve(settings, resolve_devices(device), host, port)
