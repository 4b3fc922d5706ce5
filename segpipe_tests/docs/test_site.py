"""The site: it builds with strict links, needs no network, and lists every setting."""

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.configuration_reference import MARKER, chapters, reference
from segpipe.definitions import defs
from segpipe.server.server_settings import ServerSettings
from segpipe_tests.docs.pages import PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def settings_in(config_type: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting that Dagster takes below a config type: its dotted path and its field."""
    if hasattr(config_type, "fields"):
        for name, field in config_type.fields.items():
            below = f"{path}.{name}"
            yield below, field
            yield from settings_in(field.config_type, below)
    elif hasattr(config_type, "inner_type"):
        yield from settings_in(config_type.inner_type, path)


def test_every_page_is_built_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in PAGES.glob("*.md"):
        text = (site / page.with_suffix(".html").name).read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="?(?:https?:)?//', text)
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="?https?:', text)
        assert MARKER not in text


def test_anchors_of_the_reference_are_told_apart(site: Path) -> None:
    text = (site / "configuration.html").read_text(encoding="utf-8")
    anchors = re.findall(r'<h[123] id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([a-z0-9-]+)"', text)) <= {*anchors, "__skip"}


def test_every_setting_that_dagster_takes_is_in_the_reference(site: Path) -> None:
    text = html.unescape((site / "configuration.html").read_text(encoding="utf-8"))
    written = set(re.findall(r"<code>([^<]+)</code>", text))
    for job in ("find_all_everything", "inside_box_everything", "sweep"):
        root = defs.resolve_job_def(job).run_config_schema.run_config_schema_type
        settings = [
            (path, field)
            for path, field in settings_in(root)
            if re.match(r"\.(ops\.\w+|resources\.(segmenter|refiner|store))\.config\.", path)
        ]
        assert settings
        for path, field in settings:
            assert path.rpartition(".")[2] in written, path
            for choice in getattr(field.config_type, "enum_values", ()):
                assert choice.config_value in written, path


def test_a_setting_stands_with_its_default_and_its_bounds() -> None:
    rows = reference().splitlines()
    assert "| `iou_threshold` | `0.5` | number, 0 to 1 |" in "\n".join(rows)
    assert any(row.startswith("| `url` | *required* | text |") for row in rows)
    assert any(row.startswith("| `format` | `PNG` | `PNG`, `JPG`") for row in rows)
    assert any(row.startswith("| `upload` | `jpeg` | `png`, `jpeg` |") for row in rows)
    fields = [row for row in rows if row.startswith("| `")]
    assert fields
    assert not [row for row in fields if not row.split("|")[2].strip()]


def test_every_setting_of_the_service_is_in_the_reference() -> None:
    service = reference().partition("{#service}")[2]
    for name in ServerSettings.model_fields:
        assert f"| `{name}` |" in service


def test_every_chapter_has_settings() -> None:
    for chapter in chapters():
        assert chapter.model.model_fields, chapter.title
