"""`t2i-spatial view`: look at runs in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from t2i_spatial.cli.options import FILE, FOLDER, NEW_FILE, Command


@click.command("view", cls=Command)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--host", default="127.0.0.1", help="Address to bind; others than loopback need a token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=18090, help="Port; 0 takes a free one."
)
@click.option(
    "--token-file",
    type=FILE,
    help="File with the token (or set T2I_SPATIAL_SERVE_TOKEN); made up where one is needed.",
)
@click.option("--browser", is_flag=True, help="Open the default browser.")
@click.option(
    "--label-page",
    type=NEW_FILE,
    metavar="FILE",
    help="Write one HTML file that labels RUN without a server, and stop.",
)
def command(
    runs: tuple[Path, ...],
    host: str,
    port: int,
    token_file: Path | None,
    browser: bool,
    label_page: Path | None,
) -> None:
    """Explore, compare and label RUNs in the browser, on this machine.

    Reads the tables as they are, copies nothing and loads nothing from the network. Two runs are
    compared on the same prompts and samples. Stops on Ctrl-C.
    """
    if label_page is not None:
        from t2i_spatial.run import Run
        from t2i_spatial.view.offline import write_label_page

        if len(runs) > 1:
            raise click.UsageError("--label-page takes one RUN")
        write_label_page(Run.open(runs[0]), label_page)
        click.echo(label_page)
        return
    from t2i_spatial.rewards.server.serve import read_token
    from t2i_spatial.view.serve import view_runs

    view_runs(runs, host=host, port=port, token=read_token(token_file), browser=browser)
