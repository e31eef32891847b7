"""Schemathesis over the server's own schema: whatever arrives, a documented answer."""

from __future__ import annotations

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # while no server runs: CPython 3.11 failed to once
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.limits import HANGS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", ["/score", "/compute"])
def test_every_answer_is_a_documented_one(server, path, mode):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path]["POST"].as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=HANGS)

    answered()


@pytest.mark.parametrize("path", ["/health", "/version", "/metrics"])
def test_pages_keep_to_the_schema(server, path):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    schema[path]["GET"].Case().call_and_validate(checks=CHECKS)
