"""Options and config keys, with their reference, are made from the fields of the settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from t2i_spatial.cli.main import COMMANDS, main
from t2i_spatial.cli.options import Command, given, refuse_given, settings_options
from t2i_spatial.settings import AutoDtype, BatchSize, Option, Settings
from t2i_spatial.stages.config import PipelineSettings
from t2i_spatial.stages.config_reference import key_tables
from t2i_spatial.stages.stage_settings import DetectorSettings, DetectSettings
from tests.scripts import load_script

ROOT = Path(__file__).parent.parent.parent


class Asked(Settings):
    size: int | None = Field(default=None, ge=8, lt=100, description="Pixels.  [default: its own]")
    ratio: float = Field(default=0.5, gt=0, le=1, description="A share.")
    kind: Literal["a", "b"] = Field(default="a", description="Which.")
    flag: bool = Field(default=False, description="Do it.")
    crop: bool | None = Field(default=None, description="Cut.  [default: of pairs only]")
    targets: tuple[str, ...] = Field(default=("x", "y"), description="Layers, e.g. to_q.")
    rename: Annotated[str | None, Option(("--other", "-o"), metavar="NAME")] = Field(
        default=None, description="A name."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What it knows.")
    batch_size: BatchSize = Field(default="auto", description="At a time.")
    dtype: AutoDtype = Field(default="auto", description="Format.")


@pytest.fixture
def asked():
    """Runs a command with the options of `Asked`; returns what the settings were."""
    seen = []

    @click.command(
        cls=Command, renamed={"--scale": "--ratio"}, context_settings={"show_default": True}
    )
    @settings_options(Asked)
    def command(**options):
        seen.append(given(Asked, options))

    def run(*arguments):
        result = CliRunner().invoke(command, arguments)
        return result, seen[-1] if result.exit_code == 0 and seen else None

    return run


def test_every_kind_of_field_becomes_an_option(asked):
    _, settings = asked(
        "--size", "64", "--ratio", "0.25", "--kind", "b", "--flag", "--no-crop",
        "--target", "p", "--target", "q", "-o", "name", "--option", "k=v=w",
        "--batch-size", "7", "--dtype", "fp16",
    )  # fmt: skip
    assert settings == Asked(
        size=64, ratio=0.25, kind="b", flag=True, crop=False, targets=("p", "q"), rename="name",
        options={"k": "v=w"}, batch_size=7, dtype="float16",
    )  # fmt: skip


def test_what_nobody_named_is_left_to_the_class(asked):
    _, settings = asked("--ratio", "0.5")
    assert settings == Asked() and settings.model_fields_set == {"ratio"}


def test_help_shows_defaults_bounds_and_that_an_option_may_be_repeated(asked):
    result, _ = asked("--help")
    text = " ".join(result.output.split())
    for part in (
        "--size INTEGER RANGE Pixels. [default: its own] [8<=x<=99]",
        "--ratio FLOAT RANGE A share. [default: 0.5; 0<x<=1]",
        "--kind [a|b] Which. [default: a]",
        "--crop / --no-crop Cut. [default: of pairs only]",
        "--target TEXT Layers, e.g. to_q; may be repeated. [default: x, y]",
        "-o, --other NAME A name. [default: none]",
        "--option KEY=VALUE What it knows; may be repeated.",
        "--batch-size INTEGER|auto At a time. [default: auto]",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "7"], "--size"),
        (["--size", "100"], "8<=x<=99"),
        (["--ratio", "nan"], "ratio"),
        (["--kind", "c"], "--kind"),
        (["--option", "k"], "'k' is not KEY=VALUE"),
    ],
)
def test_a_value_out_of_bounds_is_a_usage_error(asked, arguments, message):
    result, _ = asked(*arguments)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


@pytest.mark.parametrize("arguments", [["--scale", "0.25"], ["--scale=0.25"]])
def test_a_former_spelling_works_with_one_line_of_warning(asked, arguments):
    result, settings = asked(*arguments)
    assert settings.ratio == 0.25
    assert result.stderr == "--scale is now called --ratio\n"


def test_an_option_without_effect_is_refused():
    @click.command(cls=Command)
    @settings_options(Asked, only=("ratio", "kind"))
    def command(**options):
        refuse_given(("ratio",), "there is nothing to share")

    assert CliRunner().invoke(command, ["--kind", "b"]).exit_code == 0
    result = CliRunner().invoke(command, ["--ratio", "0.5"])
    assert result.exit_code == 2
    assert "--ratio has no effect here: there is nothing to share" in result.stderr


def test_the_environment_counts_as_given(asked):
    @click.command(cls=Command)
    @settings_options(Asked, only=("ratio",))
    def command(**options):
        click.echo(given(Asked, options).model_fields_set)

    result = CliRunner().invoke(command, [], auto_envvar_prefix="ASKED", env={"ASKED_RATIO": "0.5"})
    assert result.output == "{'ratio'}\n"


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "prompts"])
def test_every_option_of_every_command_says_its_default(name):
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for option in command.params:
        if not isinstance(option, click.Option) or option.is_flag or option.required:
            continue
        said = "[default" in (option.help or "")
        plain = option.default is not None and option.default != () and not callable(option.default)
        assert said or plain, f"{name} {option.opts}: {option.help}"


def test_quiet_and_verbose_go_anywhere(tmp_path):
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            spelt = {flag for option in leaf.params for flag in option.opts}
            assert {"-q", "-v"} <= spelt, leaf.name
    broken = tmp_path / "c.yaml"
    broken.write_text("a: [")
    quiet = CliRunner().invoke(main, ["run", str(broken)])
    loud = CliRunner().invoke(main, ["run", str(broken), "-v"])
    assert quiet.exit_code == loud.exit_code == 1
    assert quiet.stderr.count("\n") == 1 and "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr and quiet.stderr in loud.stderr


def test_all_detector_settings_reach_the_detector(monkeypatch):
    seen = {}

    def resolve(spec, **settings):
        seen.update(settings, spec=spec)

    monkeypatch.setattr("t2i_spatial.detectors.resolve_detector", resolve)
    DetectSettings(detector="x", nms=0.5, options={"a": 1}, depth="d", dtype="fp16").resolve()
    assert seen.pop("spec") == "x" and seen.pop("nms") == 0.5 and seen.pop("dtype") == "float16"
    assert set(seen) == set(DetectorSettings.model_fields) - {"detector", "device", "nms", "dtype"}


def test_the_page_on_configuration_is_written_from_the_settings():
    script = load_script("write_configuration")
    text = script.PAGE.read_text("utf-8")
    assert script.page(text) == text, "run scripts/write_configuration.py"


def test_every_key_of_a_config_file_is_described():
    tables = key_tables()
    for name, field in PipelineSettings.model_fields.items():
        assert f"`{name}`" in tables
        for key in getattr(type(field.default), "model_fields", ()):
            assert f"| `{key}` |" in tables
    rows = [row for row in tables.splitlines() if row.startswith("| `")]
    assert all(row.rstrip("| ").split(" | ")[-1].endswith((".", "…")) for row in rows)


def test_the_schema_accepts_what_the_settings_accept():
    import jsonschema_rs

    result = CliRunner().invoke(main, ["run", "--schema"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    good = {"output": "x", "generate": {"samples": 2}, "detect": {"vocabulary": ["cat"]}}
    assert jsonschema_rs.is_valid(schema, good)
    for wrong in ({"sample": 2}, {"samples": 0}, {"samples": 10**9}, {"dtype": "int8"}):
        assert not jsonschema_rs.is_valid(schema, {**good, "generate": wrong}), wrong


def test_python_m_on_the_command_does_not_warn():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "t2i_spatial.cli.main", "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""


def test_scripts_of_an_earlier_installation_find_the_command():
    code = "from t2i_spatial.cli import main\nmain(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "version" in done.stdout, done.stderr


def test_help_loads_no_model_library():
    code = (
        "import sys\nfrom t2i_spatial.cli.main import COMMANDS, main\nimport click\n"
        "for name in COMMANDS: main.get_command(click.Context(main), name)\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'peft'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
