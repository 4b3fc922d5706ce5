"""Where the weights lie: a folder, or a commit of a repository on the Hugging Face Hub.

Nothing here imports torch, and nothing in a checkpoint is run: weights are safetensors, and code
that comes with a repository is neither downloaded nor imported.
"""

import json
import re
from pathlib import Path

from segpipe.errors import CheckpointError, ConfigError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json"]
_MODEL_TYPE = "sam_hq"


def locate(checkpoint: str, revision: str) -> Path:
    """Find the folder of the weights; a repository's are downloaded unless they are here already.

    Args:
        checkpoint: A folder, or the id of a repository.
        revision: A commit of the repository, 40 hex digits; empty for a folder.

    Raises:
        ConfigError: A repository without a commit, or a folder with one.
        CheckpointError: There is no such folder or commit, it cannot be downloaded, or it does
            not hold the safetensors of an HQ-SAM.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if revision:
            raise ConfigError(
                f"the checkpoint {checkpoint!r} is a folder, which has no revisions; leave the "
                "revision empty",
                field="revision",
            )
    elif not _REPOSITORY.fullmatch(checkpoint):
        raise CheckpointError(
            f"there is no folder {checkpoint!r}; give the folder that holds config.json and the "
            "safetensors, or the id of a repository such as syscv-community/sam-hq-vit-large",
            field="checkpoint",
        )
    elif not revision:
        raise ConfigError(
            f"there is no folder {checkpoint!r}, and a repository needs a pinned revision; give "
            "the commit of its weights, 40 hex digits",
            field="revision",
        )
    else:
        folder = _download(checkpoint, revision)
    _check(folder)
    return folder


def _download(repository: str, commit: str) -> Path:
    # It comes with transformers, and takes a while to import.
    import huggingface_hub  # noqa: PLC0415

    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=commit, allow_patterns=_WANTED_FILES
        )
    # Which HTTP library the hub's client raises through changes with its version.
    except Exception as error:
        raise CheckpointError(
            f"{repository} at {commit} is not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {error}); check the name and the commit, set HF_TOKEN if it "
            "is gated, or copy the checkpoint here and give its folder",
            field="checkpoint",
        ) from error
    return Path(folder)


def _check(folder: Path) -> None:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfit(folder, f"its config.json cannot be read: {error}") from error
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind != _MODEL_TYPE:
        raise _unfit(folder, f"it is a {kind}; needed is a {_MODEL_TYPE}")
    if not any(folder.glob("*.safetensors")):
        raise _unfit(
            folder,
            "it has no safetensors; pickles may run code and are not loaded, so convert them where "
            "you trust them",
        )


def _unfit(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint {folder} cannot be used: {reason}", field="checkpoint")
