"""The way to a district's API: whole answers or none, politely asked, and nothing said to anybody
else.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from records.connectors.http.client import (
    Credentials,
    RequestRefused,
    RestClient,
    SourceUnavailable,
)
from records.connectors.protocol import SourceRefused
from tests.records import fake_http_server
from tests.records.fake_http_server import CLIENT, QUICK, SECRET, FakeHttpServer, Fault, status

CHILD = "Ada Canary Greenfield"
WHOLE = [{"path": "/students", "page": "7"}]


@pytest.fixture
def server() -> Iterator[FakeHttpServer]:
    with FakeHttpServer().running() as running:
        yield running


PASSING = {
    "429 with seconds": [status(429, Retry_After="7")],
    "429 with a date": [
        status(429, Retry_After=format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True))
    ],
    "429 with a date without a zone": [status(429, Retry_After="Wed, 01 Jan 2020 00:00:00 -0000")],
    "429 with nonsense": [status(429, Retry_After="soon")],
    "429 without a word": [status(429)],
    "a burst of 500 and 503": [status(500), status(503), status(500)],
    "502, 504, 408": [status(502), status(504), status(408)],
    "a truncated body": [fake_http_server.truncated],
    "half of the JSON": [fake_http_server.half],
    "a connection reset in the middle": [fake_http_server.reset],
    "a connection closed before an answer": [fake_http_server.hung_up],
    "silence": [fake_http_server.silence],
    "a slow drip": [fake_http_server.drip],
    "a page of HTML": [fake_http_server.not_json],
    "JSON nested without end": [fake_http_server.deep],
    "a broken encoding": [fake_http_server.broken_encoding],
    "one after the other": [fake_http_server.reset, fake_http_server.truncated, status(503)],
}


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING.keys())
def test_after_a_fault_that_passes_the_same_question_has_its_whole_answer(
    server: FakeHttpServer, faults: list[Fault]
):
    server.faults.extend(faults)
    with server.client() as client:
        assert client.get("/students", {"page": 7}).data == WHOLE
        assert client.get("/students", {"page": 7}).data == WHOLE
    assert len(server.tokens) == 1
    assert (
        len([request for request in server.requests if request.path == "/students"])
        == len(faults) + 2
    )


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING.keys())
def test_a_token_is_asked_for_as_patiently_as_a_page(server: FakeHttpServer, faults: list[Fault]):
    server.token_faults.extend(faults)
    with server.client() as client:
        assert client.get("/students", {"page": 7}).data == WHOLE


def test_the_source_says_how_long_to_wait_and_is_believed(server: FakeHttpServer):
    waited: list[float] = []
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.faults.extend([status(429, Retry_After="7"), status(503, Retry_After=until)])
    with server.client(sleep=waited.append) as client:
        client.get("/students")
    assert waited[0] == 7
    assert 60 < waited[1] <= 90


def test_without_a_word_of_the_source_each_wait_is_longer_than_the_last_and_none_is_the_same(
    server: FakeHttpServer,
):
    waited: list[float] = []
    server.faults.extend([status(500)] * 3)
    with server.client(sleep=waited.append) as client:
        client.get("/students")
    assert [low <= wait <= 2 * low for low, wait in zip((0.5, 1, 2), waited, strict=True)] == [
        True
    ] * 3


def test_a_source_that_asks_to_be_left_alone_for_an_hour_is_left_alone(server: FakeHttpServer):
    waited: list[float] = []
    server.faults.extend([status(429, Retry_After="3600")])
    with (
        server.client(sleep=waited.append) as client,
        pytest.raises(
            SourceUnavailable,
            match=r"/students: .*429.* a wait of 3,600 seconds.*run the same command",
        ),
    ):
        client.get("/students")
    assert waited == []
    assert len(server.requests) == 2


def test_after_so_many_tries_the_client_gives_up_and_says_where(server: FakeHttpServer):
    server.faults.extend([status(503)] * 9)
    with (
        server.client() as client,
        pytest.raises(
            SourceUnavailable,
            match=r"^/students: the source answered 503, in 4 tries\. What was fetched",
        ),
    ):
        client.get("/students")
    assert (
        len([request for request in server.requests if request.path == "/students"])
        == QUICK.max_attempts
    )


def test_a_token_that_ends_between_two_pages_is_replaced_and_no_page_is_lost(
    server: FakeHttpServer,
):
    server.token_counts_for = 2
    with server.client() as client:
        pages = [client.get("/students", {"page": page}).data[0]["page"] for page in range(7)]
    assert pages == [str(page) for page in range(7)]
    assert len(server.tokens) == 4


def test_a_token_that_ends_while_the_client_waits_is_replaced_each_time(server: FakeHttpServer):
    server.token_counts_for = 1
    server.faults.extend([status(503)] * 3)
    with server.client() as client:
        assert client.get("/students", {"page": 7}).data == WHOLE


def test_a_token_is_renewed_before_its_time_is_over(server: FakeHttpServer):
    server.token_lasts = 0
    with server.client() as client:
        client.get("/a")
        client.get("/b")
    assert [request.path for request in server.requests] == [
        "/oauth/token",
        "/a",
        "/oauth/token",
        "/b",
    ]
    assert server.requests[1].token != server.requests[3].token


@pytest.mark.parametrize("lasts", [None, "half an hour", [], "1800"])
def test_a_token_whose_time_is_not_said_plainly_still_serves(server: FakeHttpServer, lasts: object):
    server.token_lasts = lasts
    with server.client() as client:
        client.get("/a")
        client.get("/b")
    assert len(server.tokens) == 1


def test_a_source_that_refuses_its_own_token_is_not_asked_on_and_on(server: FakeHttpServer):
    server.token_counts_for = 0
    with (
        server.client() as client,
        pytest.raises(RequestRefused, match=r"rejected a token it just issued"),
    ):
        client.get("/students")
    assert len(server.requests) == 2


def test_a_wrong_secret_is_said_plainly(server: FakeHttpServer):
    with (
        RestClient(server.url, server.credentials("another"), QUICK) as client,
        pytest.raises(
            RequestRefused,
            match=r"/oauth/token gives no token \(401\): check the client's name and secret",
        ),
    ):
        client.get("/students")


@pytest.mark.parametrize("code", [400, 403, 404, 409, 418])
def test_what_the_source_will_not_give_is_asked_for_once_and_its_status_is_kept(
    server: FakeHttpServer, code: int
):
    server.faults.append(status(code))
    with (
        server.client() as client,
        pytest.raises(RequestRefused, match=f"/students: the source answered {code}") as no,
    ):
        client.get("/students")
    assert no.value.status == code
    assert len(server.requests) == 2


def test_an_answer_beyond_the_limit_is_refused_before_it_is_whole(server: FakeHttpServer):
    server.faults.append(fake_http_server.huge)
    with (
        server.client() as client,
        pytest.raises(SourceRefused, match=r"larger than 2,000,000 bytes; ask for smaller"),
    ):
        client.get("/students")
    server.token_faults.append(fake_http_server.huge)
    with (
        server.client() as client,
        pytest.raises(SourceRefused, match=r"larger than 2,000,000 bytes"),
    ):
        client.get("/students")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_no_token_goes_to_another_host(server: FakeHttpServer, code: int):
    with FakeHttpServer().running() as elsewhere:
        server.faults.append(status(code, Location=f"{elsewhere.url}/students"))
        server.token_faults.append(status(code, Location=f"{elsewhere.url}/oauth/token"))
        with (
            server.client() as client,
            pytest.raises(RequestRefused, match=r"/oauth/token gives no token"),
        ):
            client.get("/students")
        with (
            server.client() as client,
            pytest.raises(RequestRefused, match=r"a redirect .* which is not followed"),
        ):
            client.get("/students")
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "http://district.example/api",
        "ftp://district.example",
        "district.example",
        "http://127.0.0.1.district.example",
        "http://10.0.0.4/api",
    ],
)
def test_an_address_in_clear_is_refused_before_anything_is_sent(address: str):
    with pytest.raises(
        SourceRefused, match=r"not an encrypted address: it must begin with https://"
    ):
        RestClient(address, Credentials("https://district.example/oauth/token", CLIENT, SECRET))
    with pytest.raises(SourceRefused, match=r"not an encrypted address"):
        RestClient("https://district.example", Credentials(address, CLIENT, SECRET))


def test_only_reading_requests_and_the_token_are_made(server: FakeHttpServer):  # R22
    with server.client() as client:
        client.get("/students")
    assert [(request.method, request.path) for request in server.requests] == [
        ("POST", "/oauth/token"),
        ("GET", "/students"),
    ]


def test_no_error_and_no_log_holds_a_secret_a_token_or_what_was_answered(  # R25
    server: FakeHttpServer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    errors = []
    for fault in [
        status(400, CHILD),
        status(403, CHILD),
        status(302, CHILD, Location="https://elsewhere.example"),
        *[status(500, CHILD)] * 4,
        *[status(200, f"{CHILD} <html>")] * 4,
        *[fake_http_server.reset] * 4,
        *[fake_http_server.truncated] * 4,
        fake_http_server.huge,
    ]:
        server.faults.append(fault)
    server.answer = lambda method, path, params, body: fake_http_server.Reply(
        [{"firstName": CHILD}]
    )  # type: ignore[method-assign]
    with server.client() as client:
        for _ in range(8):
            with pytest.raises(SourceRefused) as error:
                client.get("/students")
            errors.append("".join(traceback.format_exception(error.value)) + repr(error.value))
        errors.append(repr(client) + repr(server.credentials()))
    wrong = replace(server.credentials(), client_secret="a wrong secret 77")
    server.token_faults.extend(
        [status(401, f"{CHILD} {wrong.client_secret}"), status(200, '{"access_token": 5}')]
    )
    for _ in range(2):
        with RestClient(server.url, wrong, QUICK) as client, pytest.raises(SourceRefused) as error:
            client.get("/students")
        errors.append("".join(traceback.format_exception(error.value)) + repr(error.value))
    everything = "".join(errors) + caplog.text
    for forbidden in (CHILD, SECRET, "a wrong secret 77", *server.tokens):
        assert forbidden not in everything
    assert not re.search(r"Bearer \S", everything)
