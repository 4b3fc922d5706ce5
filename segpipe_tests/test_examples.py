"""Every example in a docstring of segpipe runs, and gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import segpipe

ROOT = Path(segpipe.__file__).parent
PROMPT = ">>> "


def _modules_with_examples() -> list[str]:
    """Found by their text, so that no other module has to be imported."""
    return sorted(
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in ROOT.rglob("*.py")
        if PROMPT in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", _modules_with_examples())
def test_the_examples_of_a_module_give_what_they_say(name: str) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    module = importlib.import_module(name)

    for examples in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(examples, out=report.append)

    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    assert runner.tries > 0


def test_what_users_call_has_an_example() -> None:
    assert {
        "segpipe.vision.boxes",
        "segpipe.vision.contour",
        "segpipe.vision.crop",
        "segpipe.vision.dedup",
        "segpipe.vision.encode",
        "segpipe.vision.image",
        "segpipe.vision.mask",
        "segpipe.vision.mask_codecs",
        "segpipe.vision.path_fill",
    } <= set(_modules_with_examples())
