"""Who may come in, from where, with how much: every route, as an attacker would ask it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from segpipe.errors import ConfigError
from segpipe.studio.login import COOKIE, is_open
from segpipe.studio.roles import Role
from segpipe.studio.studio_app import API, PAGES
from segpipe.studio.studio_settings import TOKEN_VARIABLES, LoginKind, StudioSettings
from segpipe_tests.deals import make_deal
from segpipe_tests.studio.running_studio import RunningStudio, running_studio

TOKENS = {role: f"a-token-of-{role}" for role in Role}
ENVIRONMENT = {name: TOKENS[role] for role, name in TOKEN_VARIABLES.items()}
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
FOR_EVERYBODY = {"/login", "/logout"}
"""What changes nothing but who is logged in."""
BAD_IDS = ["..", "%2e%2e", "..%2f..%2fetc", "a%00b", "x" * 129, ".hidden", "a%0Ab", "%E2%80%AEtxt"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio with a token for each role."""
    root = tmp_path_factory.mktemp("guarded") / "data"
    make_deal(root, "lot")
    with running_studio(root, ENVIRONMENT) as running:
        yield running


def client_of(studio: RunningStudio, role: Role) -> httpx.Client:
    return studio.client(Authorization=f"Bearer {TOKENS[role]}")


def routes() -> list[tuple[str, str]]:
    """Every method and path, with something in the place of its parameters."""
    return [
        (method, re.sub(r"\{[^}]+\}", "1", route.path.replace("{mode}", "find_all")))
        for module in (*PAGES, *API)
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]


def test_without_a_login_every_route_is_refused(guarded: RunningStudio) -> None:
    known = routes()
    assert len(known) >= 8
    with guarded.client() as client:
        for method, path in [*known, ("GET", "/api/openapi.json"), ("GET", "/nothing")]:
            if is_open(path):
                continue
            answer = client.request(method, path)
            assert answer.status_code == 401, (method, path)
            page = client.request(method, path, headers={"Accept": "text/html"})
            assert page.status_code == 401, (method, path)
            assert "lot" not in page.text
        for token in ("-", "wrong", TOKENS[Role.ADMIN][:-1], "ä"):
            header = {b"Authorization": b"Bearer " + token.encode()}
            assert client.get("/deals", headers=header).status_code == 401
            assert client.post("/login", data={"token": token}).status_code == 401


def test_another_origin_may_change_nothing(studio: RunningStudio) -> None:
    """Also where nobody has to log in, since the browser of whoever sits there is trusted."""
    foreign = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": studio.url.replace("http://", "http://user@evil.example:80/")},
        {"Origin": studio.url.rpartition(":")[0] + ":1"},
    ]
    with studio.client() as client:
        for method, path in [*routes(), ("POST", "/nothing")]:
            if method in UNSAFE:
                for headers in foreign:
                    answer = client.request(method, path, headers=headers)
                    assert answer.status_code == 403, (method, path, headers)
                    assert answer.json()["error"] == "ForeignOrigin"
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": studio.url}, {}):
            assert client.post("/logout", headers=headers).status_code == 303


def test_a_strange_host_is_refused(studio: RunningStudio) -> None:
    port = studio.url.rpartition(":")[2]
    strange = ["evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""]
    strange += [f"user@127.0.0.1:{port}", "127.0.0.1:x", "127.0.0.1/evil.example", "[::1"]
    with studio.client() as client:
        for host in strange:
            for path in ("/deals", "/static/studio.css", "/nothing", "/login"):
                assert client.get(path, headers={"Host": host}).status_code == 400, host
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "LOCALHOST"):
            assert client.get("/deals", headers={"Host": host}).status_code == 200, host


def test_each_role_does_what_is_for_it(guarded: RunningStudio) -> None:
    """What changes something is for reviewers at least: whatever route there is or will be."""
    for method, path in routes():
        if method in UNSAFE and path not in FOR_EVERYBODY:
            with client_of(guarded, Role.VIEWER) as client:
                assert client.request(method, path).status_code == 403, (method, path)
    for role in Role:
        with client_of(guarded, role) as client:
            assert client.get("/deals").status_code == 200


def test_people_log_in_with_a_token_and_out(guarded: RunningStudio) -> None:
    with guarded.client(Accept="text/html") as client:
        asked = client.get("/deals?search=a%20b")
        assert asked.status_code == 401
        assert 'value="/deals?search=a%20b"' in asked.text
        form = {"token": TOKENS[Role.REVIEWER], "name": "Ada <b>", "following": "/deals?search=x"}
        answer = client.post("/login", data=form)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/deals?search=x"
        cookie = answer.headers["set-cookie"].lower()
        assert "samesite=strict" in cookie
        assert "httponly" in cookie
        page = client.get("/deals")
        assert page.status_code == 200
        assert "Ada &lt;b&gt;" in page.text
        assert TOKENS[Role.REVIEWER] not in page.text + cookie
        for forged in (client.cookies[COOKIE][:-2] + "xx", "e30.x.y", ""):
            with guarded.client(Cookie=f"{COOKIE}={forged}") as other:
                assert other.get("/deals").status_code == 401
        client.post("/logout")
        assert client.get("/deals").status_code == 401
        for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "x\ny"):
            answer = client.post("/login", data={**form, "following": elsewhere})
            assert answer.headers["location"] == "/deals"
    assert guarded.studio.audit.lines()[-1] | {"at": ""} == {
        "at": "",
        "who": "Ada <b>",
        "role": "reviewer",
        "what": "logged in",
    }


def test_a_session_ends_by_itself_and_with_its_token(tmp_path: Path) -> None:
    make_deal(tmp_path, "lot")
    with running_studio(tmp_path, ENVIRONMENT, session_hours=1 / 3600) as running:
        with running.client() as client:
            client.post("/login", data={"token": TOKENS[Role.ADMIN]})
            session = client.cookies[COOKIE]
            assert client.get("/deals").status_code == 200
        time.sleep(2.1)
        with running.client(Cookie=f"{COOKIE}={session}") as client:
            assert client.get("/deals").status_code == 401
    with (
        running_studio(tmp_path, {"SEGPIPE_STUDIO_TOKEN": "another"}) as running,
        running.client(Cookie=f"{COOKIE}={session}") as client,
    ):
        assert client.get("/deals").status_code == 401


def test_a_trusted_proxy_says_who_it_is_and_nobody_else_does(tmp_path: Path) -> None:
    make_deal(tmp_path, "lot")
    named = {"X-Forwarded-User": "Ada", "X-Forwarded-Role": "admin"}
    with running_studio(tmp_path, login="proxy") as running, running.client() as client:
        assert client.get("/deals").status_code == 401
        assert "Ada" in client.get("/deals", headers=named).text
        assert "viewer" in client.get("/deals", headers={"X-Forwarded-User": "Ada"}).text
        for wrong in ({"X-Forwarded-User": ""}, named | {"X-Forwarded-Role": "root"}):
            assert client.get("/deals", headers=wrong).status_code == 401
        twice = [("X-Forwarded-User", "Ada"), ("X-Forwarded-User", "Eve")]
        assert client.get("/deals", headers=twice).status_code == 401
    with (
        running_studio(tmp_path, login="proxy", proxy_addresses=["10.1.1.1"]) as running,
        running.client() as client,
    ):
        assert client.get("/deals", headers=named).status_code == 401


def test_it_is_not_open_to_others_without_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SEGPIPE_STUDIO_TOKEN"):
        StudioSettings(host="192.0.2.1").login_kind()
    with pytest.raises(ConfigError, match="can be reached"):
        StudioSettings(host="0.0.0.0", login=LoginKind.OFF).login_kind()
    with pytest.raises(ConfigError, match="no token"):
        StudioSettings(login=LoginKind.TOKEN).login_kind()
    monkeypatch.setenv("SEGPIPE_STUDIO_TOKEN", "x")
    assert StudioSettings(host="192.0.2.1").login_kind() is LoginKind.TOKEN
    with pytest.raises(ConfigError, match="allowed-host"):
        _ = StudioSettings(host="0.0.0.0").hosts
    assert "studio.example" in StudioSettings(host="::", allowed_hosts=("Studio.Example",)).hosts


def test_ids_that_are_none_are_refused_without_a_touch_of_the_disk(
    studio: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    # The studio looks after its list of deals all the while.
    known = ("deals", *(f"deals/{deal}" for deal in studio.store.deals()))

    def touch(key: str, *_: object) -> list[str]:
        if not any(key == place or key.startswith(f"{place}/") for place in known[1:]):
            touched.append(key)
        return []

    storage = studio.store._inputs._storage
    for name in ("list", "read", "read_input"):
        monkeypatch.setattr(storage, name, touch)
    with closing(HTTPConnection("127.0.0.1", int(studio.url.rpartition(":")[2]))) as connection:
        for bad in BAD_IDS:
            for path in (path for method, path in routes() if method == "GET" and "/1" in path):
                # By hand, since clients tidy a path up.
                connection.request("GET", path.replace("/1", f"/{bad}", 1))
                answer = connection.getresponse()
                problem = json.loads(answer.read())
                assert answer.status in {400, 404}, (bad, path)
                assert answer.status == 404 or problem["error"] == "InvalidIdError", (bad, path)
    assert [key for key in touched if key != known[0]] == []


def test_bodies_are_bounded(studio: RunningStudio) -> None:
    with studio.client() as client:
        answer = client.post("/login", content=b"x" * 1_000_001)
        assert answer.status_code == 413
        assert json.loads(answer.text)["error"] == "TooLarge"


def test_every_answer_tells_browsers_what_to_forbid(studio: RunningStudio) -> None:
    with studio.client(Accept="text/html") as client:
        for path in ("/deals", "/nothing", "/login", "/static/studio.css", "/api/openapi.json"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
