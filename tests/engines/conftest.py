"""One Ray cluster of two nodes on loopback, for all tests that need one."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from tests.limits import HANGS

SLOW = {
    # a busy machine may be twenty times slower: nothing may be taken for dead because of that
    "RAY_worker_register_timeout_seconds": "1200",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_gcs_rpc_server_connect_timeout_s": "120",
    "RAY_gcs_server_port_wait_time_s": "1200",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="session")
def cluster():
    """The cluster; this process is connected to it. Its processes end whatever happens."""
    before = {name: os.environ.get(name) for name in SLOW}
    os.environ.update(SLOW)  # read when ray is imported
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster()
    patched = pytest.MonkeyPatch()
    patched.setattr(ray._private.services, "get_node", patient(ray._private.services.get_node))
    try:
        made.add_node(include_dashboard=False, **NODE)
        made.add_node(**NODE)
        made.wait_for_nodes(timeout=1200)
        yield made
    finally:
        processes = [
            info.process
            for node in made.list_all_nodes()
            for infos in node.all_processes.values()
            for info in infos
        ]
        with contextlib.suppress(Exception):
            ray.shutdown()
        with contextlib.suppress(Exception):
            made.shutdown()
        for process in processes:
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        patched.undo()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def patient(get_node):
    """Ray gives a new node 30 seconds to be known, which no setting changes."""

    def look(*arguments):
        end = time.monotonic() + HANGS
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    return look


@pytest.fixture
def ray_engine(cluster):
    """Makes the engine on the cluster, with settings."""
    from t2i_spatial.engines import EngineSettings, make_engine

    return lambda **settings: make_engine(
        EngineSettings(engine="ray", address=cluster.address, **settings)
    )
