"""The command group. Sub-commands are imported only when called, so that `--help` is instant."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from t2i_spatial.errors import T2ISpatialError, nearest
from t2i_spatial.files import explain
from t2i_spatial.progress import is_verbose, set_quiet, set_verbose

# Threads of torch that spin while they wait make a busy machine twenty times slower, an idle one
# ten per cent faster (bundled generator, 2 cores). Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMMANDS = {
    "demo": "The whole loop on the bundled models, start here.",
    "prompts": "Write, convert, sample or parse prompt sets.",
    "generate": "Generate images for a prompt set with a diffusers model.",
    "detect": "Find boxes in images with an open-vocabulary detector.",
    "ask": "Ask a vision-language judge questions about the images.",
    "judges": "What two judges of a run say of each other.",
    "score": "Judge detections by one or more protocols.",
    "curate": "Keep what is right, with reasons, as a training set.",
    "finetune": "LoRA fine-tuning on a curated set.",
    "improve": "Score, curate, fine-tune and score again, paired.",
    "compare": "Differences between two runs, with intervals.",
    "audit": "Numbers corrected by labels of people.",
    "card": "A result card that others can verify.",
    "report": "One self-contained HTML file for a run.",
    "view": "Explore, compare and label runs in the browser.",
    "run": "All stages from one YAML or TOML file.",
    "merge": "Complete a stage that jobs with --shard have made.",
    "serve": "The scorer as an HTTP reward.",
    "doctor": "Check the installation and a detector on known boxes.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _module_exists(name)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS or not _module_exists(name):
            return None
        module = importlib.import_module(f"t2i_spatial.cli.{name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if names := self.list_commands(ctx):
            with formatter.section("Commands"):
                formatter.write_dl([(name, COMMANDS[name]) for name in names])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(
                f"no command {args[0]!r}; {nearest(args[0], self.list_commands(ctx))}", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except T2ISpatialError as error:
            _fail(ctx, error)
        except ValueError as error:
            pydantic = sys.modules.get("pydantic")
            if pydantic is None or not isinstance(error, pydantic.ValidationError):
                raise
            for entry in error.errors():
                inner = entry.get("ctx", {}).get("error")
                if isinstance(inner, T2ISpatialError):
                    _fail(ctx, inner)
            raise click.UsageError("; ".join(map(_wrong_option, error.errors())), ctx) from None
        except RecursionError as error:
            _fail(ctx, T2ISpatialError(f"an input is nested too deeply ({error})"))
        except MemoryError:
            _fail(ctx, T2ISpatialError("out of memory; ask for less at a time"))
        except KeyboardInterrupt:
            click.echo(
                "\ninterrupted; what is finished is kept, the same command goes on "
                "(finetune: with --resume)",
                err=True,
            )
            ctx.exit(130)
        except BaseException as error:
            said = explain(error)
            if said is None:
                raise
            click.echo(f"error: {said}", err=True)
            ctx.exit(1)


@click.group(
    cls=_LazyGroup,
    context_settings={
        "auto_envvar_prefix": "T2I_SPATIAL",
        "show_default": True,
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and notes on stderr.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Messages of the libraries, and where an error came from.",
)
@click.version_option(package_name="t2i-spatial")
def main(quiet: bool, verbose: bool) -> None:
    """Did the image put things where the prompt said?

    Generate once, detect once, judge by every protocol, keep what is right, learn from it.
    """
    set_quiet(quiet)
    set_verbose(verbose)


def _fail(ctx: click.Context, error: T2ISpatialError) -> NoReturn:
    """One line for the user, and with -v the traceback for whoever mends it."""
    if is_verbose() and error.exit_code:
        traceback.print_exception(error)
    click.echo(f"error: {error}" if error.exit_code else str(error), err=True)
    ctx.exit(error.exit_code)


def _wrong_option(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"]).replace("_", "-")
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"--{place}: {message}" if place else message


def _module_exists(name: str) -> bool:
    return importlib.util.find_spec(f"t2i_spatial.cli.{name}_command") is not None


if __name__ == "__main__":
    sys.exit(main())
