"""A studio over deals in a real object store: what it offers, by requests."""

from pathlib import Path

import pytest

from segpipe.prompt import Mode
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.s3 import S3Server, use_s3
from segpipe_tests.studio.running_studio import running_studio, wait_until

pytestmark = pytest.mark.timeout(300)

START_LIMIT_S = 120.0
BOX = {"mode": "inside_box", "prompt_type": "segment", "box": [1, 2, 60, 60]}


def test_a_deal_goes_its_whole_way_through_the_studio(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch, s3_server.url)
    monkeypatch.chdir(tmp_path)
    with (
        running_studio(s3_server.root(), dagster=True, daemon=True) as running,
        running.client() as client,
    ):
        put = client.put("/api/deals/lot/photos/a.png", content=goods_photo(3))
        assert put.status_code in {200, 201}, put.text
        assert [arrival.deal for arrival in running.store.arrivals.after("", 10)] == ["lot"]
        assert "lot" in client.get("/deals").text
        drawn = client.patch(
            "/api/deals/lot/photos/a/prompts",
            json={"operations": [{"op": "add", "id": "one", "to": BOX}]},
        )
        assert drawn.status_code == 200, drawn.text
        saved = client.put("/api/settings", json={"settings": {"crops": {"padding_px": 4}}})
        assert saved.status_code == 200, saved.text

        wait_until(lambda: running.studio.dagster.is_ready, patience_s=START_LIMIT_S)
        for mode in Mode:
            started = client.post("/api/runs", json={"mode": mode, "deals": ["lot"]})
            assert started.status_code == 202, started.text
            place = f"/api/runs/{started.json()['run_id']}"
            wait_until(
                lambda place=place: client.get(place).json()["status"] == "done",  # type: ignore[misc]
                patience_s=START_LIMIT_S,
            )
        for page in (
            *("/deals", "/deals/lot", "/deals/lot/annotate/a", "/settings", "/costs", "/runs"),
            "/process",
        ):
            assert client.get(page).status_code == 200, page
        current = running.store.current("lot", Mode.FIND_ALL)
        assert current
        assert current.manifest("crops").info.settings
        for picture in (
            f"crops/lot/find_all/{current.generation}/a/0/160",
            f"previews/lot/find_all/{current.generation}/a/320",
            f"sheets/lot/find_all/{current.generation}/320",
        ):
            shown = client.get(f"/pictures/{picture}")
            assert shown.status_code == 200, (picture, shown.text[:200])
        back = client.post("/api/deals/lot/rollback", json={"mode": "find_all", "generation": 1})
        assert back.status_code == 200, back.text
        found = client.get("/api/deals/lot/photos/a/found").json()
        assert len(found["items"]) == 3
        assert list(running.store.verify()) == []
    assert not list(tmp_path.rglob("deals")), "nothing of a deal is on this machine"
