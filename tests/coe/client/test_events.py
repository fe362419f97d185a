"""Events come as the server sends them; a connection that breaks is made again after the last one."""

from __future__ import annotations

import asyncio
import json
from itertools import islice

import httpx
import pytest
from scripted_server import Reply, Scripted, scripted_server

from coe import AsyncClient, Client, Event, InvalidRequestError, StreamError, UnreachableError
from coe.client.events import EventReader
from coe.client.retries import Retries

QUICK = Retries(max_retries=2, first_wait_s=0.01)


def sent(*numbers: int) -> str:
    return "".join(
        f"event: load\nid: {seq}\ndata: {json.dumps({'seq': seq, 'time': 1.5, 'expert': 'sql'})}\n\n" for seq in numbers
    )


SCRIPT = [Reply(body=sent(1, 2) + "event: load\nid: 3\ndata: {", breaks=True), Reply(body=sent(3)), Reply(body=sent(4))]


def test_events_go_on_over_connections_that_break_and_end() -> None:
    with scripted_server(SCRIPT) as server, Client(server.url) as client, client.watch() as events:
        found = list(islice(events, 4))
    assert found[0] == Event("load", 1, 1.5, {"seq": 1, "time": 1.5, "expert": "sql"})
    assert [event.seq for event in found] == [1, 2, 3, 4]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "2", "3"]
    assert {asked.path for asked in server.asked} == {"/admin/events"}


def test_async_watching_is_the_same() -> None:
    async def watch(server: Scripted) -> list[int | None]:
        found = []
        async with AsyncClient(server.url) as client, client.watch(["load", "evict"]) as events:
            async for event in events:
                found.append(event.seq)
                if len(found) == 4:
                    break
        return found

    with scripted_server(SCRIPT) as server:
        assert asyncio.run(watch(server)) == [1, 2, 3, 4]
    assert {asked.path for asked in server.asked} == {"/admin/events?kinds=load%2Cevict"}


def test_a_refusal_is_raised_and_not_asked_again() -> None:
    body = json.dumps({"error": {"message": "kinds", "type": "x", "param": "kinds", "code": None}})
    with scripted_server([Reply(400, body)]) as server, Client(server.url) as client:
        with pytest.raises(InvalidRequestError, match="kinds"):
            list(client.watch(["nothing"]))
        assert len(server.asked) == 1


def test_it_is_read_once_and_not_after_its_end() -> None:
    with scripted_server([Reply(body=sent(1))]) as server, Client(server.url) as client:
        with client.watch() as events:
            next(iter(events))
            with pytest.raises(StreamError, match="read already"):
                iter(events)
        with client.watch() as closed:
            pass
        with pytest.raises(StreamError, match="is closed"):
            iter(closed)


def test_no_server_is_said_at_once() -> None:
    with Client("http://127.0.0.1:9", max_retries=0) as client, pytest.raises(UnreachableError, match="coe serve"):
        list(client.watch())


def test_a_server_that_does_not_come_back_is_given_up_in_the_end() -> None:
    reader = EventReader(QUICK)
    error = httpx.ConnectError("refused")
    with pytest.raises(httpx.ConnectError):
        reader.after_error(error)  # there never was one
    reader.feed("")
    assert reader.after_error(error) <= 0.01
    assert reader.after_error(error) <= 0.02
    with pytest.raises(httpx.ConnectError):
        reader.after_error(error)
    reader.feed("")  # a connection that says something starts the count anew
    assert reader.after_error(error) <= 0.01
