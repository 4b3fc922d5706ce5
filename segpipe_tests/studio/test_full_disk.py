"""A studio whose disk is full: it says so, leaves nothing half done, and goes on."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe.studio.audit_log import FILE_NAME, AuditLog
from segpipe.studio.roles import Person, Role
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import goods_photo
from segpipe_tests.studio.running_studio import running_studio

PROMPTS = "/api/deals/lot/photos/a/prompts"
ADD = {
    "op": "add",
    "id": "one",
    "to": {"mode": "inside_box", "prompt_type": "segment", "box": [1, 2, 30, 40]},
}
CHANGES: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("PATCH", PROMPTS, {"json": {"operations": [ADD]}}),
    ("PUT", "/api/settings", {"json": {"settings": {"crops": {"padding_px": 3}}}}),
    ("PUT", "/api/deals/new/photos/b.png", {"content": goods_photo(2)}),
    ("PUT", "/api/deals/lot/photos/b.png", {"content": goods_photo(2)}),
)
PAGES = ("/deals", "/deals/lot", "/settings", "/costs", "/deals/lot/annotate/a")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(root: Path) -> dict[str, bytes]:
    """What is kept, without empty files such as locks."""
    found = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if data}


def test_a_full_disk_is_told_and_nothing_is_left_half_done(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_deal(root, "lot", (1,))
    with running_studio(root) as running, running.client() as client:
        before = files(root)
        with full_disk():
            for method, path, body in CHANGES:
                answer = client.request(method, path, **body)  # type: ignore[arg-type]
                assert answer.status_code == 507, (path, answer.text)
                assert "no space is left" in answer.json()["detail"]
            for path in PAGES:
                assert client.get(path, headers={"Accept": "text/html"}).status_code == 200, path
        assert files(root) == before
        for method, path, body in CHANGES:
            answer = client.request(method, path, **body)  # type: ignore[arg-type]
            assert answer.status_code in {200, 201}, (path, answer.text)


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    log, person = AuditLog(tmp_path), Person("Ada", Role.ADMIN)
    log.note(person, "saved settings")
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes() + b'{"at": "2026')
    log.note(person, "rolled back")
    assert [line["what"] for line in log.lines()] == ["saved settings", "rolled back"]
