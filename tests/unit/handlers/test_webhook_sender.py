"""The sender: one POST to a secret URL, bounded, and with no word about the URL in any error."""

from __future__ import annotations

import asyncio
import socket

import pytest

from handlers.builtin.webhook_sender import Away, Refused, SendError, WebhookSender, fault_of, opened
from tests.target import Answer


def post(url: str, body: bytes = b"{}", **options) -> None:
    async def send() -> None:
        async with opened(WebhookSender(lambda: url, **options)) as sender:
            await sender.post(body, {"X-More": "1"})

    asyncio.run(send())


def test_one_post_with_the_json(there):
    post(there.url, b'{"a":1}')
    (one,) = there.received
    assert one.path == "/hooks/secret-part?token=secret-too"
    assert one.body == b'{"a":1}'
    assert (one.headers["Content-Type"], one.headers["X-More"]) == ("application/json", "1")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_taken(there, status):
    there.answers.append(Answer(status, body=b""))
    post(there.url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422])
def test_a_4xx_is_final(there, status):
    there.answers.append(Answer(status))
    with pytest.raises(Refused, match=f"answers {status}"):
        post(there.url)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_for_later(there, status):
    there.answers.append(Answer(status, {"Retry-After": "17"}))
    with pytest.raises(Away, match=f"answers {status}") as error:
        post(there.url)
    assert error.value.after_s == 17


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(there, status):
    there.answers.append(Answer(status, {"Location": there.url.replace("secret-part", "elsewhere")}))
    with pytest.raises(Refused, match="redirect is not followed"):
        post(there.url)
    assert len(there.received) == 1


def test_a_target_that_hangs_or_drips_is_left_in_time(there):
    for answer in (Answer(hangs=True), Answer(drips=True)):
        there.answers.append(answer)
        with pytest.raises(Away, match="within"):
            post(there.url, within_s=0.3)


def test_a_large_answer_is_not_read_to_its_end(there):
    whole = b"x" * 50_000_000
    there.answers.append(Answer(body=whole))
    post(there.url)
    assert there.sent() < len(whole), "the connection ended before"


def test_a_connection_is_used_again_and_cookies_are_not_kept(there):
    there.answers.append(Answer(headers={"Set-Cookie": "a=b; Path=/"}))

    async def send() -> None:
        async with opened(WebhookSender(lambda: there.url)) as sender:
            await sender.post(b"{}")
            await sender.post(b"{}")

    asyncio.run(send())
    assert [one.headers.get("Cookie") for one in there.received] == [None, None]
    assert there.connections == 1


def test_an_unreachable_target_is_away():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-part"
        with pytest.raises(Away, match="cannot be reached: ConnectError"):
            post(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.test/secret", "https"),
        ("https://user:secret@example.test/", "no user"),
        ("https://example.test/#secret", "no fragment"),
        ("ftp://example.test/secret", "https://host"),
        ("https://exa mple.test/secret", "blank"),
        ("https://example.test:0/secret", "port"),
        ("", "https://host"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_any_part_of_it(url, says):
    fault = fault_of(url)
    assert fault is not None
    assert says in fault
    assert "secret" not in fault


def test_http_beyond_this_machine_needs_a_word():
    assert fault_of("http://example.test/x", plain_http=True) is None
    assert fault_of("http://127.0.0.1:8080/x") is None
    assert fault_of("http://localhost/x?y=z") is None
    assert fault_of("https://example.test/x?y=z") is None


def test_no_error_has_a_part_of_the_url(there):
    said: list[str] = []
    there.answers += [Answer(404), Answer(503), Answer(302, {"Location": there.url}), Answer(hangs=True)]
    urls = [there.url] * 4 + ["http://127.0.0.1:1/secret-part?token=secret-too", "http://secret-host.test/"]
    for url in urls:
        with pytest.raises(SendError) as error:
            post(url, within_s=0.3)
        said.append(f"{error.value} {error.value.__cause__} {error.value.__suppress_context__}")
    assert not [text for text in said if "secret" in text]
    assert len(said) == 6
