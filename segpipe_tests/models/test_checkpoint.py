"""Where the weights lie, and what is said when they do not."""

import json
import shutil
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from segpipe.errors import CheckpointError, ConfigError
from segpipe.models.checkpoint import PINNED, Checkpoint, Contents, ModelSettings, read_config
from segpipe.models.checkpoint import locate as locate_checkpoint
from segpipe.models.sam3 import SAM3, SAM3_TRACKER
from segpipe.refiners.loop.loop_settings import HqSamConfig, Sam3TrackerConfig
from segpipe.segmenters.sam3.local.local_settings import LocalConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/sam3"
FILES = {
    "config.json": '{"model_type": "sam3_video"}',
    "model.safetensors": "weights",
    "tokenizer.json": "{}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of which only the names of its files are right."""
    whole = tmp_path / "checkpoint"
    whole.mkdir()
    for name, text in FILES.items():
        (whole / name).write_text(text)
    return whole


def locate(settings: ModelSettings) -> Checkpoint:
    return locate_checkpoint(settings, SAM3)


class Hub(BaseHTTPRequestHandler):
    """A hub that knows one repository, which nobody may read."""

    answers: ClassVar[dict[str, tuple[int, dict[str, str], str]]]

    def do_GET(self) -> None:
        for part, (status, headers, body) in self.answers.items():
            if part in self.path:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())
                return

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """A hub on loopback, an empty cache, and no token."""

    class Scripted(Hub):
        answers: ClassVar = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", here)
    files = f"{here}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield Scripted
    server.shutdown()
    thread.join()
    server.server_close()


def remote(revision: str = COMMIT) -> ModelSettings:
    return ModelSettings(checkpoint=REPOSITORY, revision=revision)


def test_a_folder_is_named_by_what_its_files_hold(folder: Path, tmp_path: Path) -> None:
    found = locate(ModelSettings(checkpoint=str(folder)))
    assert found.folder == folder
    revision = found.revision
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    assert locate(ModelSettings(checkpoint=str(elsewhere))).revision == revision
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert locate(ModelSettings(checkpoint=str(folder))).revision != revision


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder.*config.json") as caught:
        locate(ModelSettings(checkpoint=str(tmp_path / "nowhere")))
    assert caught.value.field == "checkpoint"


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave the revision empty"):
        locate(ModelSettings(checkpoint=str(folder), revision=COMMIT))


def test_a_repository_without_a_revision_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"pinned revision") as caught:
        locate(ModelSettings(checkpoint=REPOSITORY))
    assert caught.value.field == "revision"


@pytest.mark.parametrize("repository", PINNED)
def test_a_default_asks_for_its_pinned_commit(hub: type[Hub], repository: str) -> None:
    asked = f"{repository}/revision/{PINNED[repository]}"
    hub.answers = {asked: (404, {"X-Error-Code": "RevisionNotFound"}, "")}
    with pytest.raises(CheckpointError, match=PINNED[repository]):
        locate(ModelSettings(checkpoint=repository))


def test_the_defaults_of_all_models_are_pinned() -> None:
    for config in (LocalConfig, HqSamConfig, Sam3TrackerConfig):
        assert config().checkpoint in PINNED


def test_a_gated_repository_says_to_accept_the_licence_and_set_a_token(hub: type[Hub]) -> None:
    hub.answers = {"": (403, {"X-Error-Code": "GatedRepo"}, "")}
    with pytest.raises(CheckpointError, match=r"accept its licence.*HF_TOKEN"):
        locate(remote())


def test_an_unknown_repository_is_said_to_be_unknown(hub: type[Hub]) -> None:
    hub.answers = {"": (404, {"X-Error-Code": "RepoNotFound"}, "")}
    with pytest.raises(CheckpointError, match=r"no folder and no repository"):
        locate(remote())


def test_an_unknown_commit_is_said_to_be_unknown(hub: type[Hub]) -> None:
    hub.answers = {"": (404, {"X-Error-Code": "RevisionNotFound"}, "")}
    with pytest.raises(CheckpointError, match=f"no commit {COMMIT}") as caught:
        locate(remote())
    assert caught.value.field == "revision"


def test_without_a_network_it_says_how_to_do_without(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"copy the checkpoint here and give its folder"):
        locate(remote())


def test_a_hub_that_cannot_be_reached_is_said_to_be_out_of_reach(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        with pytest.raises(CheckpointError, match=r"connect to the network"):
            locate(remote("v1"))


def test_a_branch_is_refused_since_it_moves(hub: type[Hub]) -> None:
    refs = {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}],
        "tags": [],
        "converts": [],
    }
    hub.answers = {"/refs": (200, {"Content-Type": "application/json"}, json.dumps(refs))}
    with pytest.raises(ConfigError, match=r"'main' is no tag") as caught:
        locate(remote("main"))
    assert caught.value.field == "revision"


def test_a_tag_and_its_commit_name_the_same_weights(hub: type[Hub]) -> None:
    refs = {
        "branches": [],
        "tags": [{"name": "v1", "ref": "refs/tags/v1", "targetCommit": COMMIT}],
        "converts": [],
    }
    files = ["config.json", "model.safetensors", "tokenizer.json"]
    as_json = {"Content-Type": "application/json"}
    listing = [{"type": "file", "path": name, "size": 4, "oid": name} for name in files]
    siblings = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": one} for one in files]}
    hub.answers = {
        "/refs": (200, as_json, json.dumps(refs)),
        "/tree/": (200, as_json, json.dumps(listing)),
        "/revision/": (200, as_json, json.dumps(siblings)),
        **{
            f"/{name}": (200, {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}, "file")
            for name in files
        },
    }
    by_tag, by_commit = locate(remote("v1")), locate(remote())
    assert by_tag == by_commit
    assert by_tag.revision == f"{REPOSITORY}@{COMMIT}"
    assert (by_tag.folder / "config.json").read_text() == "file"


def test_once_downloaded_a_commit_needs_no_network(hub: type[Hub]) -> None:
    test_a_tag_and_its_commit_name_the_same_weights(hub)
    hub.answers = {"": (500, {}, "the network is gone")}
    assert locate(remote()).revision == f"{REPOSITORY}@{COMMIT}"


def test_a_missing_shard_is_named(folder: Path) -> None:
    shards = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(CheckpointError, match=r"no model-2.safetensors"):
        read_config(folder, SAM3)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"index.json cannot be read"):
        read_config(folder, SAM3)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[1]", '{"model_type": "sam"}'])
def test_a_config_of_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"cannot be used"):
        read_config(folder, SAM3)


def test_another_model_is_told_apart_by_its_config(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="it is a sam3_video; needed is a sam_hq, as a/b has"):
        read_config(folder, Contents("sam_hq", "a/b"))


def test_who_reads_no_text_needs_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert read_config(folder, SAM3_TRACKER) == {"model_type": "sam3_video"}
    with pytest.raises(CheckpointError, match=r"no tokenizer.json"):
        read_config(folder, SAM3)


def test_pickles_are_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickles \(pytorch_model.bin\), which may run code"):
        read_config(folder, SAM3)
