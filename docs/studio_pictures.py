"""Draws the studio's pages for the documentation: ``python -m docs.studio_pictures``.

It starts the studio that every user has on the sample deals, and looks at it with the installed
Chromium. With ``--all FOLDER`` every page is drawn into a folder, wide and narrow, light and dark:
to look at, before they are committed.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from docs.pictures import FOLDER, save_all

SHOWN = {
    "studio_deals": "/deals",
    "studio_deal": "/deals/sample-coins",
    "studio_crops": "/deals/sample-coins?tab=crops",
    "studio_history": "/deals/sample-coins?tab=history&left=1&right=2",
    "studio_test": "/test",
    "studio_process": "/process",
    "studio_settings": "/settings",
    "studio_runs": "/runs",
    "studio_costs": "/costs",
    "studio_exports": "/exports?deal=sample-coins&deal=sample-goods",
    "studio_quality": "/quality",
}
"""The pictures of the documentation, and the pages that they show."""
EVERY = {
    "deals": "/deals",
    "deals_none": "/deals?search=nowhere",
    "deal": "/deals/sample-coins",
    "crops": "/deals/sample-coins?tab=crops",
    "report": "/deals/sample-coins?tab=report",
    "history": "/deals/sample-coins?tab=history",
    "beside": "/deals/sample-coins?tab=history&left=1&right=2",
    "deal_costs": "/deals/sample-coins?tab=costs",
    "annotate": "/deals/sample-coins/annotate",
    "annotate_boxes": "/deals/sample-goods/annotate?mode=inside_box",
    "process": "/process",
    "process_selected": "/process?deal=sample-coins&deal=sample-goods",
    "estimate": "/process/estimate?scope=all",
    "test": "/test",
    "settings": "/settings",
    "runs": "/runs",
    "costs": "/costs",
    "exports": "/exports?deal=sample-coins&deal=sample-goods",
    "exports_none": "/exports",
    "review": "/review",
    "quality": "/quality",
    "missing": "/deals/nowhere",
    "login": "/login",
}
"""Every page, by the name of its picture."""
WIDE, NARROW = (1280, 860), (400, 800)
PATIENCE_MS = 30_000


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """The address of a studio on sample deals that were run twice in both modes."""
    root = str(folder / "data")
    _segpipe(folder, "samples", "--root", root)
    _segpipe(folder, "run", "--mode", "find_all", "--root", root)
    _segpipe(folder, "settings", "set", "crops.padding_px", "6", "--root", root)
    for mode in ("find_all", "inside_box"):
        _segpipe(folder, "run", "--mode", mode, "--root", root)
        _segpipe(folder, "quality", "--mode", mode, "--root", root)
    program = [sys.executable, "-c", "from segpipe.cli.app import main; main()"]
    options = ["--root", root, "--port", "0", "--no-daemon"]
    process = subprocess.Popen(
        [*program, "studio", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout or ():
            if found := re.search(r"http://\S+:\d+", line):
                yield found[0]
                return
        raise SystemExit("the studio did not start")
    finally:
        process.terminate()
        process.wait()


def shot(browser: Browser, address: str, size: tuple[int, int], *, is_dark: bool) -> Image.Image:
    """What a page looks like once all of its pictures are there."""
    width, height = size
    scheme = "dark" if is_dark else "light"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        is_mobile=size == NARROW,
        has_touch=size == NARROW,
    )
    try:
        page = context.new_page()
        page.goto(address, timeout=PATIENCE_MS)
        _settle(page)
        return Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    finally:
        context.close()


def draw_all(folder: Path = FOLDER) -> list[Path]:
    """Draw the pictures of the documentation into a folder, and give their paths."""
    with tempfile.TemporaryDirectory() as temporary, _looking(Path(temporary)) as (browser, url):
        pictures = {
            name: shot(browser, url + path, WIDE, is_dark=False) for name, path in SHOWN.items()
        }
    return save_all(pictures, folder)


def draw_every(folder: Path) -> list[Path]:
    """Draw every page into a folder, wide and narrow, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with tempfile.TemporaryDirectory() as temporary, _looking(Path(temporary)) as (browser, url):
        for name, path in EVERY.items():
            for look, size, is_dark in (("wide", WIDE, False), ("narrow", NARROW, True)):
                paths.append(folder / f"{name}_{look}.png")
                shot(browser, url + path, size, is_dark=is_dark).save(paths[-1])
    return paths


@contextmanager
def _looking(folder: Path) -> Iterator[tuple[Browser, str]]:
    named = os.environ.get("SEGPIPE_TEST_BROWSER")
    program = named or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise SystemExit("install chromium first, or name its file in SEGPIPE_TEST_BROWSER")
    with studio(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser, url
        finally:
            browser.close()


def _settle(page: Page) -> None:
    page.wait_for_load_state("load")
    page.wait_for_function(
        "() => [...document.images].every((image) => image.complete || image.loading === 'lazy')"
    )
    page.wait_for_timeout(1500)


def _segpipe(folder: Path, *arguments: str) -> None:
    program = [sys.executable, "-c", "from segpipe.cli.app import main; main()"]
    subprocess.run([*program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, to look at")
    chosen = parser.parse_args().all
    for drawn in draw_every(chosen) if chosen else draw_all():
        sys.stdout.write(f"{drawn}\n")
