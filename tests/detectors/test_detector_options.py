from __future__ import annotations

import inspect

import pytest
from click.testing import CliRunner

from t2i_spatial.cli import detect_command, doctor_command, score_command, serve_command
from t2i_spatial.cli.main import main
from t2i_spatial.detectors import resolve_detector


@pytest.mark.parametrize("module", [detect_command, doctor_command, score_command, serve_command])
def test_a_detector_can_be_set_up_alike_wherever_it_is_loaded(module):
    asked = set(inspect.signature(resolve_detector).parameters) - {"spec"}
    assert asked <= {option.name for option in module.command.params}


def test_what_the_server_is_told_reaches_its_detector():
    done = CliRunner().invoke(main, ["serve", "--query-template", "no placeholder"])
    assert done.exit_code == 1
    assert "{name}" in done.stderr
