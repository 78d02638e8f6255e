"""Records posted to a real web server."""

import email.utils
import json
from datetime import UTC, datetime, timedelta

import pytest

from etwdetect.results.record import from_json, to_json
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.sinks.http import HttpTransport
from etwdetect.results.sinks.opening import open_sink
from tests.results.conftest import FULL, HOSTILE
from tests.results.sinks.conftest import HOST, wait_for


def records(server):
    return [from_json(line) for _, _, body in server.requests for line in body.decode("ascii").splitlines()]


def test_records_are_posted_as_lines_of_json(sink, http_server, detection):
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}/ingest?key=1")
    both = [FULL, detection(HOSTILE, "ä.exe")]
    for each in both:
        opened.put(each)
    opened.close()
    assert records(server) == both
    path, headers, body = server.requests[0]
    assert path == "/ingest?key=1"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["User-Agent"].startswith("etwdetect/")
    assert "Authorization" not in headers
    assert body.startswith(to_json(FULL).encode("ascii") + b"\n")
    assert (opened.sent, opened.complete) == (2, True)


@pytest.mark.parametrize(("secure", "port"), [(False, 80), (True, 443)])
def test_an_address_of_ipv6_needs_no_port(monkeypatch, secure, port):
    asked = []

    def refuse(address, *_):
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", refuse)
    carrier = HttpTransport("::1", None, "/", secure=secure)
    with pytest.raises(ConnectionRefusedError):
        carrier.send([b"{}\n"])
    assert (carrier.name.endswith("://[::1]"), asked) == (True, [("::1", port)])


def test_many_records_share_requests_and_one_connection(sink, http_server, detection):
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}", wait=30)
    for number in range(2000):
        opened.put(detection(tid=number))
    opened.close()
    assert [each.thread.tid for each in records(server)] == list(range(2000))
    assert len(server.requests) < 100
    assert len(server.ports) == 1


def test_the_authorization_comes_from_the_environment(sink, http_server, detection, monkeypatch):
    monkeypatch.setenv("ETWDETECT_HTTP_AUTHORIZATION", "Bearer abc")
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    opened.close()
    assert server.requests[0][1]["Authorization"] == "Bearer abc"


@pytest.mark.slow
@pytest.mark.parametrize("answer", [500, 503, 429, 408, "hang up", "nonsense"])
def test_what_may_go_better_later_is_tried_again(sink, http_server, told, detection, answer):
    server = http_server()
    server.answers = [answer, answer]
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    wait_for(lambda: server.requests and not opened.left)
    assert records(server)[-1] == detection()
    assert told[0].endswith("; trying again")
    assert told[1:] == [f"http://{HOST}:{server.port}: is back"]
    assert opened.complete


@pytest.mark.parametrize("answer", [400, 401, 404, 301])
def test_what_is_refused_is_counted_and_told_once(sink, http_server, told, detection, answer):
    server = http_server()
    server.answers = [answer, answer]
    opened = sink(f"http://{HOST}:{server.port}/")
    for number in range(2):
        opened.put(detection(tid=number))
        wait_for(lambda: not opened.left)
    opened.put(FULL)
    opened.close()
    assert (opened.refused, opened.sent, opened.complete) == (2, 1, False)
    assert len(told) == 1
    assert f"refuses what it is sent: it answers {answer}" in told[0]
    assert opened.closing().endswith("1 of 3 sent; 2 refused")


def test_all_of_a_request_that_is_refused_are_counted(sink, http_server, told, detection):
    server = http_server()
    server.answers = [503, 200, 400]
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    wait_for(lambda: told)  # while the first one is tried again, the others gather
    for number in range(5):
        opened.put(detection(tid=number))
    opened.close()
    assert (opened.sent, opened.refused, len(server.requests)) == (1, 5, 3)


def test_a_post_that_is_too_large_is_halved_until_it_passes(sink, http_server, told, detection):
    server = http_server()
    server.most_bytes = 20_000
    opened = sink(f"http://{HOST}:{server.port}/", wait=30)
    for number in range(1_000):
        opened.put(detection(tid=number))
    opened.put(detection("x" * 30_000))
    opened.close()
    assert [each.thread.tid for each in records(server)] == list(range(1_000))
    assert (opened.sent, opened.refused, len(told)) == (1_000, 1, 1)


@pytest.mark.parametrize("value", ["1", "date"])
def test_a_server_that_asks_for_time_is_left_alone_for_it(sink, http_server, detection, value):
    server = http_server()
    server.answers = [429]
    server.retry_after = "1"
    if value == "date":
        server.retry_after = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    wait_for(lambda: opened.sent)
    first, second = server.times
    assert second - first >= 1  # the first pause of its own is half a second


def test_a_body_has_the_format_that_the_url_names(sink, http_server, detection):
    server = http_server()
    opened = sink(f"http+ecs://{HOST}:{server.port}/")
    opened.put(detection())
    opened.close()
    assert json.loads(server.requests[0][2])["event"]["kind"]
    with pytest.raises(SinkError, match="must be one of json, ecs, ocsf"):
        open_sink(f"http+csv://{HOST}/", print)


def test_the_authorization_comes_from_a_file(sink, http_server, detection, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("Bearer abc\n", encoding="utf-8")
    monkeypatch.setenv("ETWDETECT_HTTP_AUTHORIZATION_FILE", str(tmp_path / "secret"))
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    opened.close()
    assert server.requests[0][1]["Authorization"] == "Bearer abc"
    (tmp_path / "secret").unlink()
    with pytest.raises(SinkError, match="ETWDETECT_HTTP_AUTHORIZATION_FILE names cannot be read"):
        open_sink(f"http://{HOST}/", print)


def test_https_is_spoken_with_a_server_that_is_trusted(sink, http_server, tls_context, trusted, detection):  # noqa: ARG001
    server = http_server(context=tls_context)
    opened = sink(f"https://{HOST}:{server.port}/")
    opened.put(detection())
    opened.close()
    assert records(server) == [detection()]


def test_an_idle_connection_that_the_server_closed_is_no_news(sink, http_server, told, detection):
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection())
    wait_for(lambda: opened.sent)
    server.answers = ["hang up"]
    opened.put(FULL)
    wait_for(lambda: opened.sent == 2)
    assert told == []
    assert len(server.ports) == 2


@pytest.mark.parametrize("path", ["/a b", "/ä", "/\x7f"])
def test_a_path_that_no_request_can_have_is_refused(path):
    with pytest.raises(SinkError, match="characters"):
        open_sink(f"http://{HOST}{path}", print)


@pytest.mark.parametrize("header", ["a\r\nb: c", "ä"])
def test_a_header_that_no_request_can_have_is_refused(header, monkeypatch):
    monkeypatch.setenv("ETWDETECT_HTTP_AUTHORIZATION", header)
    with pytest.raises(SinkError, match="characters"):
        open_sink(f"http://{HOST}/", print)


def test_every_line_is_json_by_itself(sink, http_server, detection):
    server = http_server()
    opened = sink(f"http://{HOST}:{server.port}/")
    opened.put(detection(HOSTILE))
    opened.close()
    assert json.loads(server.requests[0][2])["SourceImage"] == HOSTILE
