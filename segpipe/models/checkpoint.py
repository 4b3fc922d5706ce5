"""Where the weights lie: a folder, or a pinned revision of a repository on the Hugging Face Hub.

Nothing here imports torch, and nothing in a checkpoint is run: weights are safetensors, and code
that comes with a repository is neither downloaded nor imported.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from segpipe.errors import CheckpointError, ConfigError, SegpipeError
from segpipe.settings import Settings

CHECKPOINT = (
    "The weights: a folder with safetensors, or the id of a repository on the Hugging Face Hub; "
    "there, a revision is needed."
)
"""What the setting ``checkpoint`` is, for the models that give it a default."""
DeviceName = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where to compute: cpu, mps, cuda, cuda:1, …; auto takes cuda before mps "
        "before cpu.",
    ),
]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
Dtype = Annotated[
    DtypeName,
    Field(
        description="Numbers to compute with; auto is bfloat16 on cuda and float32 elsewhere.",
    ),
]


class ModelSettings(Settings):
    """Which weights, where they are computed with, and in which numbers."""

    checkpoint: str = Field(min_length=1, description=CHECKPOINT)
    revision: str = Field(
        default="",
        description="For a repository: the commit or tag of the weights. Branches move, so they "
        "are refused. A folder has none.",
    )
    device: DeviceName = "auto"
    dtype: Dtype = "auto"


PINNED = {
    "facebook/sam3": "3c879f39826c281e95690f02c7821c4de09afae7",
    "syscv-community/sam-hq-vit-large": "95cfeabb358308cdbe0a45c3f704c94caeb0a145",
}
"""The commits of the repositories that are defaults: they need no ``revision``."""
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WANTED_FILES = ["*.json", "*.safetensors", "merges.txt"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_WEIGHTS_SUFFIX = ".safetensors"
_SHORT_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint has to hold beside weights, for one kind of model.

    Attributes:
        model_type: What its config.json calls the model.
        example: A repository that has it, for messages.
        files: Further files, each by the sets of names of which one has to be there.
        remark: Said of another model's checkpoint, after what is needed.
    """

    model_type: str
    example: str
    files: tuple[tuple[tuple[str, ...], ...], ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights on this machine.

    Attributes:
        folder: Where they lie.
        commit: The repository and its commit; None for a folder of somebody's own.
    """

    folder: Path
    commit: str | None

    @property
    def revision(self) -> str:
        """What names the weights: their commit, or a digest of the folder's files, which are read.

        Raises:
            CheckpointError: A file cannot be read.
        """
        return self.commit or _digest(self.folder)


def locate(settings: ModelSettings, contents: Contents) -> Checkpoint:
    """Find the weights; those of a repository are downloaded unless they are here already.

    Raises:
        ConfigError: A repository without a pinned revision, or a folder with one.
        CheckpointError: There is no such folder or repository, it is gated, or the network or a
            package is missing.
    """
    checkpoint = settings.checkpoint
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if settings.revision:
            raise ConfigError(
                f"the checkpoint {checkpoint!r} is a folder, which has no revisions; leave the "
                "revision empty",
                field="revision",
            )
        return Checkpoint(folder, None)
    if not _REPOSITORY.fullmatch(checkpoint):
        raise CheckpointError(
            f"there is no folder {checkpoint!r}; give the folder that holds config.json and the "
            f"safetensors, or the id of a repository such as {contents.example}",
            field="checkpoint",
        )
    revision = settings.revision or PINNED.get(checkpoint)
    if not revision:
        raise ConfigError(
            f"there is no folder {checkpoint!r}, and a repository needs a pinned revision; give "
            "the commit (40 hex digits) or the tag of its weights",
            field="revision",
        )
    return _download(checkpoint, revision, contents)


def read_config(folder: Path, contents: Contents) -> dict[str, Any]:
    """The config.json of a checkpoint that transformers can load, once its files are all there.

    Raises:
        CheckpointError: A file is missing, the weights are pickles, or it is another model.
    """
    try:
        values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _unfit(folder, "it has no config.json; copy the whole checkpoint") from error
    except (OSError, ValueError) as error:
        raise _unfit(folder, f"its config.json cannot be read: {error}") from error
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind != contents.model_type:
        remark = f", {contents.remark}" if contents.remark else ""
        raise _unfit(
            folder,
            f"it is a {kind}; needed is a {contents.model_type}, as {contents.example} has it"
            + remark,
        )
    missing = _missing_files(folder, contents)
    if not missing:
        return values
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles and missing[0].endswith(_WEIGHTS_SUFFIX):
        raise _unfit(
            folder,
            f"its weights are pickles ({', '.join(pickles)}), which may run code and are not "
            "loaded; take the safetensors of the checkpoint, or convert them where you trust them",
        )
    raise _unfit(folder, f"it has no {', '.join(missing)}; copy the whole checkpoint")


def _missing_files(folder: Path, contents: Contents) -> list[str]:
    """Files that loading needs and the folder lacks, weights first."""
    index = folder / "model.safetensors.index.json"
    needed = {"model.safetensors"}
    if index.is_file():
        try:
            needed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unfit(folder, f"its {index.name} cannot be read: {error}") from error
    missing = sorted(name for name in needed if not (folder / name).is_file())
    for sets in contents.files:
        if not any(all((folder / name).is_file() for name in names) for names in sets):
            missing.append(sets[0][0])
    return missing


def _unfit(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint {folder} cannot be used: {reason}", field="checkpoint")


def _digest(folder: Path) -> str:
    """A name for the weights of a folder that another folder with the same files has too."""
    whole = hashlib.sha256()
    for path in sorted({path for pattern in _WANTED_FILES for path in folder.glob(pattern)}):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise _unfit(folder, f"{path.name} cannot be read: {error}") from error
        whole.update(path.name.encode() + b"\0" + digest)
    return f"sha256:{whole.hexdigest()[:_SHORT_DIGEST]}"


def _download(repository: str, revision: str, contents: Contents) -> Checkpoint:
    # It comes with transformers, and takes a while to import.
    import huggingface_hub  # noqa: PLC0415
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        commit = revision if _COMMIT.fullmatch(revision) else _commit_of_tag(repository, revision)
        folder = _cached(repository, commit, contents) or Path(
            huggingface_hub.snapshot_download(
                repository, revision=commit, allow_patterns=_WANTED_FILES
            )
        )
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{repository} is gated: accept its licence on its page with your account, then set "
            "HF_TOKEN to a token of that account that may read gated repositories",
            field="checkpoint",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{repository} has no commit {revision}; look it up on the repository's page",
            field="revision",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no folder and no repository {repository!r}, or it is private: correct the "
            "name, or set HF_TOKEN to a token that may read it",
            field="checkpoint",
        ) from error
    except SegpipeError:
        raise
    # Which HTTP library the hub's client raises through changes with its version.
    except Exception as error:
        raise CheckpointError(
            f"{repository} at {revision} is not on this machine and cannot be downloaded "
            f"({error}); connect to the network, or copy the checkpoint here and give its "
            "folder",
            field="checkpoint",
        ) from error
    return Checkpoint(folder, f"{repository}@{commit}")


def _cached(repository: str, commit: str, contents: Contents) -> Path | None:
    """The folder of a commit that was downloaded whole before: no network is needed for it."""
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415

    try:
        folder = Path(snapshot_download(repository, revision=commit, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None
    is_whole = (folder / "config.json").is_file() and not _missing_files(folder, contents)
    return folder if is_whole else None


def _commit_of_tag(repository: str, name: str) -> str:
    from huggingface_hub import HfApi  # noqa: PLC0415

    for tag in HfApi().list_repo_refs(repository).tags:
        if tag.name == name:
            return str(tag.target_commit)
    raise ConfigError(
        f"{name!r} is no tag of {repository}; branches move, so give a commit (40 hex digits) or "
        "a tag",
        field="revision",
    )
