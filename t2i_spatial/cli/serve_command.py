"""`t2i-spatial serve`: the scorer as an HTTP reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import FILE, Command, given, settings_options
from t2i_spatial.rewards.server.server_settings import ServerSettings
from t2i_spatial.stages.stage_settings import DetectorSettings

HIDDEN = ("detector", "judge", "reward", "compat", "max_buffered", "token", "local_only")


@click.command("serve", cls=Command)
@click.option(
    "--host", default="127.0.0.1", help="Address to bind; others than loopback need a token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=18085, help="Port; 0 takes a free one."
)
@settings_options(DetectorSettings)
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="Protocol or protocol.component; may be repeated.  [default: spatial]",
)
@click.option(
    "--judge",
    help="Judge of rewards by answers (spatial_vqa): the URL of a chat-completions endpoint, "
    "'transformers:ID' or 'bundled'.  [default: none]",
)
@click.option("--judge-model", help="Name of the model at a URL.  [default: the only one there]")
@settings_options(ServerSettings, without=HIDDEN)
@click.option(
    "--token-file",
    type=FILE,
    help="File with the token clients must send (or set T2I_SPATIAL_SERVE_TOKEN).",
)
@click.option(
    "--flow-grpo-compat",
    is_flag=True,
    help="Answer flow_grpo's GenEval client and verl-omni's HTTP scorer client on POST / (their "
    "pickles are read as data only).",
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
    rewards: tuple[str, ...],
    judge: str | None,
    judge_model: str | None,
    token_file: Path | None,
    flow_grpo_compat: bool,
    compat_protocol: str,
    **options: Any,
) -> None:
    """Serve rewards over HTTP: POST /score, GET /health, /version, /metrics.

    Stops on Ctrl-C or SIGTERM after answering what it has accepted.
    """
    from t2i_spatial.devices import resolve_devices
    from t2i_spatial.judges import resolve_judge
    from t2i_spatial.rewards.server.serve import read_token, serve
    from t2i_spatial.rewards.server.server_settings import is_loopback
    from t2i_spatial.scoring.core import RewardSpec

    detector = given(DetectorSettings, options)
    settings = given(
        ServerSettings,
        {name: value for name, value in options.items() if name not in HIDDEN},
        detector=detector.resolve(),
        judge=None if judge is None else resolve_judge(judge, model=judge_model),
        reward=RewardSpec.parse(rewards),
        compat=compat_protocol if flow_grpo_compat else None,
        token=read_token(token_file),
        local_only=is_loopback(host),
    )
    serve(settings, resolve_devices(detector.device), host, port)
