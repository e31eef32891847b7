from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.storage.server import Faults, FaultyServer

BUCKET = "runs"


@pytest.fixture(scope="session")
def server() -> Iterator[FaultyServer]:
    served = FaultyServer()
    yield served
    served.close()


@pytest.fixture(scope="package", autouse=True)
def _store(server: FaultyServer) -> Iterator[None]:
    """The environment in which all tools find the server; no retries but ours."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(use_listings_cache=False).call_s3("create_bucket", Bucket=BUCKET)
        yield
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def faults(server: FaultyServer) -> Iterator[Faults]:
    server.faults.reset()
    yield server.faults
    server.faults.reset()


@pytest.fixture
def url() -> str:
    """A place of its own in the bucket."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
