"""The command that checks what segpipe works with, part by part, and says what to do."""

import importlib.util
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import BaseModel

from segpipe.cli.console import Column, Listing, counted, is_are, print_json, print_listings
from segpipe.cli.instance import instance_folder, open_instance
from segpipe.cli.options import ROOT, Json, Root, local_folder
from segpipe.cli.outcomes import Diagnoses, Diagnosis
from segpipe.cli.run_config import RunConfig, read_run_config
from segpipe.cli.run_deals import check_config
from segpipe.errors import SegpipeError
from segpipe.models.checkpoint import PINNED
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.storage_driver import HOME_VARIABLE
from segpipe.prompt import Mode
from segpipe.secret_file import secrets_path
from segpipe.secret_names import OWN_ORIGINS, place_of_secret
from segpipe.settings import Settings
from segpipe.store.data_root import DataRoot
from segpipe.store.storage import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from segpipe.store.store import DealStore

_OK, _NOTE, _FAULT = "ok", "note", "fault"
_COLUMNS = (
    Column("part"),
    Column("state"),
    Column("what", wraps=True),
    Column("advice", wraps=True),
)
_BYTES_PER_GB = 1_000_000_000
_LEAST_FREE_GB, _ENOUGH_FREE_GB = 0.5, 5.0
_PORTS = {3000: "Dagster's webserver", 8000: "segpipe serve"}
_SERVICE_TIMEOUT_S = 5.0
_KEY_FIELDS = ("api_key_env", "token_env")


def doctor(
    root: Root = ROOT,
    config: Annotated[
        Path | None,
        typer.Option(help="Run config, of which keys, weights and services are checked."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check what segpipe works with, and say what to do about what does not work.

    The exit code is 1 when something that is set up does not work. What is not set up is a note.
    """
    parts = list(_diagnose(root, config))
    facts = Diagnoses(metadata.version("segpipe"), root, tuple(parts))
    if as_json:
        print_json(facts)
    else:
        rows = [(part.part, part.state, part.what, part.advice) for part in parts]
        print_listings(Listing(_COLUMNS, rows))
    if any(part.state == _FAULT for part in parts):
        raise typer.Exit(1)


def _diagnose(root: str, config: Path | None) -> Iterator[Diagnosis]:
    yield from _data_root(root)
    yield _database(root)
    try:
        settings = check_config(root, Mode.FIND_ALL, read_run_config(config))
    except SegpipeError as error:
        advice = "see 'segpipe config' and 'segpipe settings history'"
        yield Diagnosis("settings", _FAULT, str(error), advice)
    else:
        saved = settings.settings.generation
        said = f"generation {saved} of the saved ones" if saved else "the defaults"
        yield Diagnosis("settings", _OK, str(config or said), None)
        yield from _models(settings)
    yield from _keys()
    yield _gpu()
    yield from (_port(port, user) for port, user in _PORTS.items())


def _data_root(root: str) -> Iterator[Diagnosis]:
    """The root's deals, permissions and disk."""
    store = DealStore(root)
    try:
        deals = store.deals()
    except SegpipeError as error:
        yield Diagnosis("data root", _FAULT, str(error), "name another with --root")
        return
    advice = None if deals else "use 'segpipe add', or name another folder with --root"
    yield Diagnosis(
        "data root", _OK if deals else _NOTE, f"{store.root}: {counted(len(deals), 'deal')}", advice
    )
    if not store.root.is_local:
        yield from _bucket(store.root)
        return
    folder = next(
        path for path in (local_folder(root), *local_folder(root).parents) if path.exists()
    )
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Diagnosis("permissions", _OK, f"{folder} can be written", None)
    except OSError as error:
        what = f"{folder} cannot be written: {os.strerror(error.errno or 0)}"
        yield Diagnosis("permissions", _FAULT, what, "let this user write there")
    free = shutil.disk_usage(folder).free / _BYTES_PER_GB
    state = _FAULT if free < _LEAST_FREE_GB else _NOTE if free < _ENOUGH_FREE_GB else _OK
    advice = None if state == _OK else "free some; 'segpipe sweep' removes what is not current"
    yield Diagnosis("disk", state, f"{free:.1f} GB are free in {folder}", advice)


def _bucket(root: DataRoot) -> Iterator[Diagnosis]:
    """What an object store has to know, and what it lacks."""
    storage, key = root.storage(), f"{TEMPORARY_PREFIX}doctor-{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    try:
        storage.put_if_absent(key, [b"one"])
        try:
            storage.put_if_absent(key, [b"two"])
            is_refused = False
        except FileExistsError:
            is_refused = not storage.swap(key, b"two", b"three")
            is_refused &= storage.swap(key, b"one", b"two")
        storage.remove(key)
    except OSError as error:
        what = f"{root} cannot be written: {error.strerror or error}"
        advice = "let this account list, read, write and delete there"
        yield Diagnosis("permissions", _FAULT, what, advice)
        return
    yield Diagnosis("permissions", _OK, f"{root} can be written", None)
    remedy = None if is_refused else "use a store that has them: promoting rests on them"
    said = f"writes with a condition are {'kept' if is_refused else 'not known there'}"
    yield Diagnosis("conditions", _OK if is_refused else _FAULT, said, remedy)
    said = "an object store has no links: there is no current/<mode>/ path"
    yield Diagnosis("links", _NOTE, said, "'segpipe show' and 'export' find what is current")


def _database(root: str) -> Diagnosis:
    folder = instance_folder(root)
    if not os.environ.get(HOME_VARIABLE) and not folder.exists():
        return Diagnosis("database", _NOTE, f"{folder} is made by the first command", None)
    try:
        with open_instance(root) as instance:
            known = len(instance.get_dynamic_partitions(DEALS.name or ""))
    except (SegpipeError, OSError) as error:
        advice = "free space, let this user write there, or move the folder away"
        return Diagnosis("database", _FAULT, str(error), advice)
    return Diagnosis(
        "database",
        _OK,
        f"{folder}: {counted(known, 'deal')} {is_are(known)} known to Dagster",
        None,
    )


def _models(config: RunConfig) -> Iterator[Diagnosis]:
    """What the segmenter and the refiner of the settings need: keys, weights, services."""
    for part, settings in (
        ("segmenter", config.settings.segmenter),
        ("refiner", config.settings.refiner),
    ):
        kind = getattr(settings, "kind", "")
        found = [check for each in _all_settings(settings) for check in _check(each)]
        for check in found:
            try:
                yield Diagnosis(f"{part} {kind}", _OK, check(), None)
            except SegpipeError as error:
                yield Diagnosis(f"{part} {kind}", _FAULT, error.message, _advice(error))
            except httpx.HTTPError as error:
                what = f"the service does not answer: {error}"
                yield Diagnosis(f"{part} {kind}", _FAULT, what, "start it, or correct its url")
        if not found:
            yield Diagnosis(f"{part} {kind}", _OK, "needs no key, weights or service", None)


def _all_settings(settings: BaseModel) -> Iterator[Settings]:
    """Settings, and those inside."""
    if isinstance(settings, Settings):
        yield settings
    for _, value in settings:
        if isinstance(value, BaseModel):
            yield from _all_settings(value)


def _check(settings: Settings) -> Iterator[Callable[[], str]]:
    kind = getattr(settings, "kind", "")
    if kind == "segmind":
        yield lambda: _key(settings)
    if kind == "internal":
        yield lambda: _service(settings)
    if hasattr(settings, "checkpoint"):
        yield lambda: _weights(settings)


def _key(settings: Settings) -> str:
    name = next(getattr(settings, field) for field in _KEY_FIELDS if hasattr(settings, field))
    if place_of_secret(name) is None:
        raise SegpipeError(f"the variable {name}, which holds the key, is not set")
    return f"a key is in {name}"


def _service(settings: Settings) -> str:
    url = str(getattr(settings, "url", "")).rstrip("/")
    answer = httpx.get(f"{url}/health", timeout=_SERVICE_TIMEOUT_S)
    if answer.is_error:
        raise SegpipeError(f"{url}/health answers {answer.status_code}")
    return f"{url} answers"


def _weights(settings: Settings) -> str:
    checkpoint = str(getattr(settings, "checkpoint", ""))
    if importlib.util.find_spec("torch") is None:
        raise SegpipeError("torch is not installed, which models in this process need")
    if Path(checkpoint).expanduser().is_dir():
        return f"weights are in {checkpoint}"
    if getattr(settings, "revision", None) or checkpoint in PINNED:
        return f"{checkpoint} is downloaded at the first use, if it is not here yet"
    raise SegpipeError(f"there is no folder {checkpoint!r} with weights")


def _advice(error: SegpipeError) -> str:
    if "variable" in error.message:
        return "export it in the shell that runs segpipe and Dagster"
    if "torch" in error.message:
        return "pip install '.[local]'"
    return "see docs/segmenters.md and docs/refiners.md"


def _keys() -> Iterator[Diagnosis]:
    for name in OWN_ORIGINS:
        try:
            place = place_of_secret(name)
        except SegpipeError as error:
            yield Diagnosis("keys", _FAULT, error.message, f"chmod 600 {secrets_path()}")
            continue
        if place:
            yield Diagnosis("keys", _OK, f"{name} is set ({place})", None)
        else:
            advice = "export it where a paid or a protected service is used"
            yield Diagnosis("keys", _NOTE, f"{name} is not set", advice)


def _gpu() -> Diagnosis:
    if importlib.util.find_spec("torch") is None:
        what = "torch is not installed: no model runs in this process"
        return Diagnosis("gpu", _NOTE, what, "pip install '.[local]' for SAM 3 in this process")
    import torch  # noqa: PLC0415 - slow, and seldom installed

    if torch.cuda.is_available():
        return Diagnosis("gpu", _OK, torch.cuda.get_device_name(0), None)
    return Diagnosis("gpu", _NOTE, "torch sees no GPU: models run on the CPU", None)


def _port(port: int, user: str) -> Diagnosis:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            advice = f"it may be {user} itself; else choose another port"
            return Diagnosis(f"port {port}", _NOTE, f"taken, which {user} uses", advice)
    return Diagnosis(f"port {port}", _OK, f"free for {user}", None)
