"""Who may ask, and how much they may send."""

import socket
from typing import Any

import httpx
import pytest

from segpipe.errors import ConfigError
from segpipe.server.run import serve
from segpipe.server.serve_config import ServeConfig
from segpipe.server.server_settings import ServerSettings
from segpipe.server.service_app import create_app
from segpipe_tests.goods import goods_photo
from segpipe_tests.server.running import PATIENCE_S, Service, ToldModel, running

TOKEN_ENV = "SEGPIPE_SERVER_TOKEN"
TOKEN = "s3cret"
FORM = {"points": "[[10, 28]]"}
MEGABYTE = 1_000_000


def ask(client: httpx.Client, **more: object) -> httpx.Response:
    sent = {"files": {"image": goods_photo(1)}, "data": FORM, **more}
    return client.post("/predict/mask", **sent)  # type: ignore[arg-type]


def ready(service: Service) -> httpx.Client:
    service.wait_for_model()
    return service.client()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_no_other_machine_is_listened_to_without_a_token(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    with pytest.raises(ConfigError, match=TOKEN_ENV) as caught:
        create_app(ToldModel, ServerSettings(host=host))
    assert caught.value.field == "host"
    with pytest.raises(ConfigError, match=TOKEN_ENV):
        serve(ServeConfig(server=ServerSettings(host=host)))

    monkeypatch.setenv(TOKEN_ENV, " ")
    with pytest.raises(ConfigError):
        create_app(ToldModel, ServerSettings(host=host))

    monkeypatch.setenv(TOKEN_ENV, "a-token")
    create_app(ToldModel, ServerSettings(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    create_app(ToldModel, ServerSettings(host=host))


def test_with_a_token_everything_but_health_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    settings = ServerSettings(token_env="MY_TOKEN")
    with running(ToldModel, settings) as service, ready(service) as client:
        for path in ("/metrics", "/openapi.json", "/nowhere", "/segment"):
            assert client.get(path).status_code == 401, path
        for wrong in ("", "s3cret", "Bearer", "Bearer s3cre", "Basic s3cret", "Bearer s3cret x"):
            refused = ask(client, headers={"Authorization": wrong})
            assert refused.status_code == 401, wrong
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"] == "Unauthorized"
        assert "s3cret" not in refused.text

        for right in ("Bearer s3cret", "bearer  s3cret"):
            assert ask(client, headers={"Authorization": right}).status_code == 200
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("token", ["two words", "geh\u00e9im", "a\tb", "a\nb", "\u2603"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_that_no_header_carries_is_refused_by_its_variable(
    token: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(ConfigError, match="MY_TOKEN") as caught:
        create_app(ToldModel, ServerSettings(host=host, token_env="MY_TOKEN"))
    assert token not in str(caught.value)


def test_a_token_of_other_letters_is_just_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_ENV, "s3cret")
    with running(ToldModel) as service, ready(service) as client:
        refused = client.get("/metrics", headers={b"Authorization": "Bearer gehéim".encode()})
    assert refused.status_code == 401


def test_no_origin_is_allowed_by_default() -> None:
    with running(ToldModel) as service, ready(service) as client:
        answer = ask(client, headers={"Origin": "https://studio.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_of_the_settings_may_ask_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_ENV, "s3cret")
    settings = ServerSettings(cors_origins=["https://studio.example"])
    preflight = {"Access-Control-Request-Method": "POST"}
    with running(ToldModel, settings) as service, ready(service) as client:
        good = client.options("/segment", headers={"Origin": "https://studio.example", **preflight})
        bad = client.options("/segment", headers={"Origin": "https://evil.example", **preflight})
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://studio.example"
    assert bad.status_code == 400
    assert "access-control-allow-origin" not in bad.headers


def exchange(service: Service, *pieces: bytes) -> bytes:
    """Send pieces of a request that never ends, and read the answer."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_S) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while not answer.endswith(b"}"):
            more = connection.recv(65_536)
            assert more, answer
            answer += more
    return answer


HEAD = b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'


def test_an_announced_body_over_the_cap_is_413_before_any_of_it_is_sent() -> None:
    with running(ToldModel, ServerSettings(max_upload_mb=1)) as service, ready(service):
        answer = exchange(service, HEAD + b"Content-Length: 1000001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"TooLarge"' in answer


def test_an_unannounced_body_is_413_as_soon_as_it_passes_the_cap() -> None:
    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data)

    model = ToldModel()
    with running(lambda: model, ServerSettings(max_upload_mb=1)) as service, ready(service):
        answer = exchange(
            service,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            chunk(PART),
            chunk(bytes(MEGABYTE // 2)),
            chunk(bytes(MEGABYTE // 2)),  # and no end: what came is too much already
        )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert not model.images


def test_a_body_at_the_cap_is_taken() -> None:
    settings = ServerSettings(max_upload_mb=0.01)
    with running(ToldModel, settings) as service, ready(service) as client:
        assert ask(client).status_code == 200


@pytest.mark.parametrize(("status", "cap_mb", "token"), [(413, 6, TOKEN), (401, 64, "wrong")])
def test_a_client_that_sends_all_before_it_reads_is_told_why(
    status: int, cap_mb: float, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the sockets between them hold, so that it notices a server that hangs up."""
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    large = {"image": bytes(10 * MEGABYTE)}
    with running(ToldModel, ServerSettings(max_upload_mb=cap_mb)) as service, ready(service):
        for _ in range(3):
            answer = httpx.post(
                f"{service.url}/predict/mask",
                files=large,
                data=FORM,
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == status


def test_a_service_that_stops_lets_an_upload_end_before_it_refuses_the_next() -> None:
    with running(ToldModel, ServerSettings()) as service, ready(service) as client:
        service.app.state.service.stop()
        for _ in range(3):
            assert ask(client, files={"image": bytes(10 * MEGABYTE)}).status_code == 503


@pytest.mark.parametrize(
    "more",
    [
        {"files": [("image", goods_photo(1)), ("image2", b"x")]},
        {"data": {**FORM, **{f"field{index}": "x" for index in range(20)}}},
        {"data": {**FORM, "prompt": "x" * (MEGABYTE + 1)}},
    ],
    ids=["two files", "many fields", "a huge field"],
)
def test_a_form_of_too_many_or_too_large_parts_is_400(more: dict[str, object]) -> None:
    with running(ToldModel) as service, ready(service) as client:
        answer = ask(client, **more)
    assert answer.status_code == 400
    assert answer.json()["error"] == "InvalidRequest"


def form_of(charset: str = "", *, prompt: bytes = b"{}", name: bytes = b"i") -> dict[str, Any]:
    """A form that says what it is written in."""
    parts = [
        b'Content-Disposition: form-data; name="image"; filename="%b"\r\n\r\n' % name
        + goods_photo(1),
        b'Content-Disposition: form-data; name="prompt"\r\n\r\n' + prompt,
    ]
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    said = f"; charset={charset}" if charset else ""
    return {
        "content": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary=b{said}"},
    }


@pytest.mark.parametrize(
    "charset", ["punycode", "undefined", "idna", "utf-16", "latin-1", "no-such", "''", "%ff"]
)
def test_a_form_in_another_charset_than_utf_8_is_400(charset: str) -> None:
    model = ToldModel()
    with running(lambda: model) as service, ready(service) as client:
        answer = client.post("/segment", **form_of(charset))
    assert answer.status_code == 400
    assert answer.json()["error"] == "InvalidRequest"
    assert "UTF-8" in answer.json()["detail"]
    assert not model.images


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf8"'])
def test_a_form_may_say_that_it_is_utf_8(charset: str) -> None:
    with running(ToldModel) as service, ready(service) as client:
        answer = client.post("/segment", **form_of(charset))
    assert answer.status_code == 200


def test_a_text_of_a_form_that_is_not_utf_8_is_refused_and_not_read_as_other_words() -> None:
    model = ToldModel()
    with running(lambda: model) as service, ready(service) as client:
        words = '{"text": "Schlüssel"}'
        answer = client.post("/segment", **form_of(prompt=words.encode("latin-1")))
        assert answer.status_code == 400
        assert answer.json()["error"] == "InvalidRequest"
        assert "UTF-8" in answer.json()["detail"]
        assert not model.images
        # A file's name is nobody's business.
        answer = client.post(
            "/segment", **form_of(prompt=words.encode(), name="ü".encode("latin-1"))
        )
        assert answer.status_code == 200
        assert answer.json()["labels"] == ["Schlüssel"]
