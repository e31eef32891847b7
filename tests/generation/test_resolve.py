from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.resolve import resolve_lora, resolve_model
from tests.tiny_models import tiny_model


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("sd1"), folder)
    return folder


def refused(folder, **options):
    with pytest.raises(ModelLoadError) as error:
        load_generator(str(folder), device="cpu", **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_path_that_is_not_there(tmp_path):
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "no such folder" in refused("./nowhere")


def test_a_folder_that_is_no_pipeline(copy):
    assert "no model_index.json" in refused(copy / "unet")
    assert "is a file" in refused(copy / "model_index.json")


@pytest.mark.parametrize(
    ("part", "safe", "pickled"),
    [
        ("unet", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("text_encoder", "model.safetensors", "pytorch_model.bin"),
    ],
)
def test_pickled_weights_are_never_loaded(copy, part, safe, pickled):
    torch.save(load_file(copy / part / safe), copy / part / pickled)
    (copy / part / safe).unlink()
    assert "no safetensors weights" in refused(copy)


def test_truncated_weights(copy):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert "cannot be loaded" in refused(copy)


def test_a_variant_that_is_not_there(copy):
    assert "no files of the variant 'fp16'" in refused(copy, variant="fp16")


def set_class(folder, name):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))


@pytest.mark.parametrize("name", ["DDPMPipeline", "TextToVideoSDPipeline", "AudioLDM2Pipeline"])
def test_a_pipeline_that_makes_no_images_from_text(copy, name):
    set_class(copy, name)
    assert f"is a {name}, not a text-to-image pipeline" in refused(copy)


@pytest.mark.parametrize("name", ["MyPipeline", ["pipeline", "MyPipeline"]])
def test_code_that_comes_with_a_model_is_not_run(copy, name):
    (copy / "pipeline.py").write_text("raise SystemExit('ran')")
    set_class(copy, name)
    assert "never run" in refused(copy)


def test_an_inpainting_unet_is_refused(copy):
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] = weights["conv_in.weight"].repeat(1, 3, 1, 1)[:, :9].contiguous()
    save_file(weights, file, {"format": "pt"})
    set_class(copy, "StableDiffusionInpaintPipeline")
    assert "wants 9 channels" in refused(copy)


def test_a_hub_model_that_is_not_cached_and_no_network():
    message = refused("nobody/nothing", offline=True)
    assert "HF_HUB_OFFLINE" in message
    assert "path of a folder" in message
    assert "neither a folder nor a hub id" in refused("a/b/c", offline=True)


def test_the_commit_of_a_cached_hub_model_is_resolved(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny_model("sd1"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = resolve_model("someone/tiny", offline=True)
    assert source.revision == commit
    assert resolve_model("someone/tiny", revision=commit, offline=True).folder == source.folder
    with pytest.raises(ModelLoadError, match="not in the local cache"):
        resolve_model("someone/tiny", revision="v2", offline=True)


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code, word = (403, "GatedRepo") if "gated" in self.path else (404, "RepoNotFound")
        self.send_response(code)
        self.send_header("X-Error-Code", word)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


def test_what_the_hub_answers_is_told_apart(tmp_path):
    """In a process of its own, because the hub's address is read once, on import."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = """
from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation.resolve import resolve_model
for name in ("someone/absent", "someone/gated"):
    try:
        resolve_model(name)
    except ModelLoadError as error:
        print(error)
"""
    address = f"http://127.0.0.1:{server.server_address[1]}"
    env = {"PATH": "", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    server.shutdown()
    absent, gated = done.stdout.splitlines()
    assert "no model 'someone/absent' on the hub" in absent
    assert "'someone/gated' is gated" in gated


def test_the_content_of_a_local_model_is_its_revision(copy):
    before = resolve_model(str(copy)).revision
    assert before == resolve_model(str(tiny_model("sd1"))).revision
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"] += 1
    save_file(weights, file, {"format": "pt"})
    assert resolve_model(str(copy)).revision != before


def test_a_change_in_the_middle_of_large_weights_is_another_model(copy):
    file = copy / "unet" / "large.safetensors"
    file.write_bytes(bytes(20_000_000))
    before = resolve_model(str(copy)).revision
    with file.open("r+b") as stream:
        stream.seek(10_000_000)
        stream.write(b"x" * 100_000)
    assert resolve_model(str(copy)).revision != before


def test_lora_files_are_found(tmp_path):
    with pytest.raises(ModelLoadError, match="no such file"):
        resolve_lora(str(tmp_path / "nothing"))
    with pytest.raises(ModelLoadError, match="no safetensors at all"):
        resolve_lora(str(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ModelLoadError, match="never pickled"):
        resolve_lora(str(tmp_path / "a.bin"))
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert resolve_lora(str(tmp_path)).file.name == "a.safetensors"
    save_file({"a": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelLoadError, match="name the file itself"):
        resolve_lora(str(tmp_path))
    (tmp_path / "lora").mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    in_run = resolve_lora(str(tmp_path))
    assert in_run.file.parent.name == "lora"
    assert in_run.digest != resolve_lora(str(tmp_path / "a.safetensors")).digest
