"""The server collects bodies, builds the environment and calls Flask; slow senders and slow stores block nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]  # the documented names

from ingest.app import create_app
from ingest.minimal_flask import Hold
from ingest.server import LARGE, SMALL, Bodies, Body, Server, environ_of
from shared.errors import BodyTooLarge, DoorFull, EncodedBody, MissingSignature, NothingStored
from shared.settings import Settings
from tests.unit.door.conftest import ListKeeper, door_with, webhook
from tests.unit.door.rsgi import MAYBE_SIGNED, Headers, Proto, Scope, ask, chunked, with_length

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from shared.models import Delivery

BODY = b'{"type":"inbound_received"}'


@dataclass
class LateKeeper(ListKeeper):
    """A keeper that returns or raises when `settle` is called."""

    waiting: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._settled: asyncio.Future[str] | None = None

    async def keep(self, delivery: Delivery) -> str:
        self._settled = asyncio.get_running_loop().create_future()
        self.waiting.append(delivery)
        return await self._settled

    def settle(self, outcome: str | Exception) -> None:
        assert self._settled is not None
        if self._settled.cancelled():
            return
        if isinstance(outcome, Exception):
            self._settled.set_exception(outcome)
        else:
            self._settled.set_result(outcome)


@pytest.fixture
def keeper() -> LateKeeper:
    return LateKeeper()


def send(server: Server, scope: Scope, proto: Proto) -> Awaitable[None]:
    return server.__rsgi__(scope, proto)  # type: ignore[arg-type]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def while_one_waits(keeper: LateKeeper, meanwhile: Callable[[Server, Proto], Awaitable[None]]) -> Proto:
    """Send a webhook, run `meanwhile` before it is kept, and return its answers."""
    server, proto = door_with(keeper), Proto(BODY)

    async def story() -> None:
        task = asyncio.ensure_future(send(server, webhook(BODY), proto))
        await until(lambda: keeper.waiting)
        await meanwhile(server, proto)
        await task

    asyncio.run(story())
    return proto


def test_the_answer_waits_until_the_delivery_is_kept(keeper: LateKeeper) -> None:
    async def keep_it(_: Server, proto: Proto) -> None:
        await asyncio.sleep(0.01)
        assert proto.answers == []
        keeper.settle("intake")

    [answer] = while_one_waits(keeper, keep_it).answers
    assert (answer.status, answer.json) == (200, {"delivery_id": keeper.waiting[0].id})


def test_other_requests_are_answered_while_one_waits(keeper: LateKeeper) -> None:
    alive = Proto()

    async def ask_another(server: Server, _: Proto) -> None:
        await send(server, Scope(method="GET", path="/livez"), alive)
        assert [answer.status for answer in alive.answers] == [200]
        keeper.settle("spool")

    assert [answer.status for answer in while_one_waits(keeper, ask_another).answers] == [200]


def test_an_unkept_delivery_is_503_with_a_retry_after(keeper: LateKeeper) -> None:
    async def refuse_it(_: Server, __: Proto) -> None:
        keeper.settle(NothingStored("intake: redis://secret; spool: away"))

    [answer] = while_one_waits(keeper, refuse_it).answers
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert b"secret" not in answer.body


def test_a_closed_connection_does_not_affect_later_requests(keeper: LateKeeper) -> None:
    server = door_with(keeper)

    async def story() -> None:
        task = asyncio.ensure_future(send(server, webhook(BODY), Proto(BODY)))
        await until(lambda: keeper.waiting)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        again = asyncio.ensure_future(send(server, webhook(BODY), Proto(BODY)))
        await until(lambda: len(keeper.waiting) == 2)
        keeper.settle("intake")
        await again

    asyncio.run(story())
    assert len(keeper.waiting) == 2


@pytest.mark.parametrize(
    ("scope", "pieces", "status"),
    [
        (Scope(method="GET", path="/livez"), (), 200),
        (Scope(method="GET", path="/readyz"), (), 200),
        (Scope(method="GET", path="/nowhere"), (), 404),
        (Scope(method="GET"), (), 405),
        (Scope(headers={"content-length": "2"}), (b"{}",), 401),
        (Scope(headers={"content-length": "10001"}), (None,), 413),
        (chunked()[0], (b"x" * 9_999, b"x" * 9_999, None), 413),
    ],
    ids=["livez", "readyz", "nowhere", "method", "unsigned", "too large", "endless"],
)
def test_a_request_without_a_store_is_answered_at_once(
    keeper: LateKeeper, scope: Scope, pieces: tuple[bytes | None, ...], status: int
) -> None:
    assert ask(door_with(keeper), scope, *pieces).status == status


def test_a_body_that_does_not_come_is_408(kept: ListKeeper) -> None:
    answer = ask(door_with(kept, body_seconds=0.02), webhook(BODY), BODY[:5], None)
    assert (answer.status, answer.json["code"], kept.deliveries) == (408, "body_too_slow", [])


@pytest.mark.parametrize("lost", [ProtocolClosed, ProtocolError])
def test_a_connection_lost_within_the_body_is_400(door: Server, lost: type[Exception]) -> None:
    class LostConnection(Proto):
        async def __call__(self) -> bytes:
            raise lost

    lost_connection = LostConnection()
    asyncio.run(door.__rsgi__(webhook(BODY), lost_connection))  # type: ignore[arg-type]
    assert [answer.status for answer in lost_connection.answers] == [400]


@pytest.mark.parametrize("scope", [webhook(BODY), Scope(method="GET", path="/readyz")], ids=["keeping", "asking"])
def test_a_bug_is_500_without_details(door: Server, kept: ListKeeper, scope: Scope) -> None:
    kept.bug = RuntimeError("a secret")
    answer = ask(door, scope, BODY)
    assert (answer.status, answer.mimetype) == (500, "application/problem+json")
    assert answer.json["code"] == "internal_server_error"
    assert b"secret" not in answer.body


def test_a_large_body_is_handled_in_a_thread_and_kept(kept: ListKeeper) -> None:
    body = b"x" * (LARGE + 1)
    assert ask(door_with(kept, max_bytes=LARGE + 1), webhook(body), body).status == 200
    assert [delivery.body for delivery in kept.deliveries] == [body]


def environ_for(**scope: Any) -> dict[str, Any]:
    return environ_of(Scope(**scope), Hold())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        ({"method": "PUT"}, "REQUEST_METHOD", "PUT"),
        ({"path": "/é"}, "PATH_INFO", "/Ã©"),  # PEP 3333: bytes decoded as Latin-1
        ({"query_string": "a=%20"}, "QUERY_STRING", "a=%20"),
        ({"query_string": "a=€"}, "QUERY_STRING", "a=€".encode().decode("latin-1")),  # PEP 3333, too
        ({"headers": {"content-length": "4"}}, "CONTENT_LENGTH", "4"),
        ({"headers": {"content-type": "text/plain"}}, "CONTENT_TYPE", "text/plain"),
        ({"headers": {"x-front-signature": "abc"}}, "HTTP_X_FRONT_SIGNATURE", "abc"),
        (
            {"headers": Headers([("x-front-signature", "one"), ("x-front-signature", "two")])},
            "HTTP_X_FRONT_SIGNATURE",
            "one,two",
        ),
        ({"client": "::1:50000"}, "REMOTE_ADDR", "::1"),
        ({"server": "127.0.0.1:8080"}, "SERVER_PORT", "8080"),
    ],
)
def test_a_request_becomes_a_wsgi_environment(scope: dict[str, Any], key: str, value: str) -> None:
    assert environ_for(**scope)[key] == value


def test_the_sender_behind_a_trusted_proxy_is_the_one_that_counts() -> None:
    proxies = (ip_network("127.0.0.1"),)
    scope = Scope(headers={"x-forwarded-for": "192.0.2.1, 198.51.100.7", "x-forwarded-proto": "https"})
    behind, alone = environ_of(scope, Hold(), proxies), environ_of(scope, Hold())  # type: ignore[arg-type]
    assert (behind["REMOTE_ADDR"], behind["wsgi.url_scheme"]) == ("198.51.100.7", "https")
    assert (alone["REMOTE_ADDR"], alone["wsgi.url_scheme"]) == ("127.0.0.1", "http")


def test_a_body_counts_for_the_sender_behind_a_trusted_proxy(kept: ListKeeper) -> None:
    seen = []

    class Watched(Bodies):
        async def collect(self, body: Any, environ: Any, proto: Any) -> None:
            seen.append(environ["REMOTE_ADDR"])
            await super().collect(body, environ, proto)

    door = Server(create_app(Settings()), kept, Watched(limit=LIMIT), trusted_proxies=(ip_network("127.0.0.1"),))  # type: ignore[arg-type]
    ask(door, Scope(headers={"x-forwarded-for": "198.51.100.7"}), b"{}")
    assert seen == ["198.51.100.7"]


def test_a_header_with_an_underscore_is_dropped() -> None:
    assert "HTTP_X_FRONT_SIGNATURE" not in environ_for(headers={"x_front_signature": "abc"})


LIMIT = 10 * SMALL
LARGE_BODY = b"x" * (2 * SMALL)


@pytest.fixture
def bodies() -> Bodies:
    return Bodies(limit=LIMIT, together=4 * SMALL)


async def begin(bodies: Bodies, request: tuple[Scope, Proto], body: Body | None = None) -> Body:
    """Collect a body; release it if that fails, as the server does."""
    scope, proto = request
    body = body or Body()
    try:
        await bodies.collect(body, environ_of(scope, Hold()), proto)  # type: ignore[arg-type]
    except BaseException:
        bodies.release(body)
        raise
    return body


def collect(bodies: Bodies, request: tuple[Scope, Proto]) -> Body:
    return asyncio.run(begin(bodies, request))


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (with_length(b"{}"), b"{}"),
        (with_length(LARGE_BODY), LARGE_BODY),
        (chunked(b"{", b"}"), b"{}"),
        (chunked(LARGE_BODY[:5], LARGE_BODY[5:]), LARGE_BODY),
        # The body of a GET is not read
        ((Scope(method="GET"), Proto(None)), b""),
    ],
    ids=["small", "large", "chunked", "large chunked", "none"],
)
def test_a_body_is_collected_as_it_was_sent(bodies: Bodies, request_: tuple[Scope, Proto], body: bytes) -> None:
    assert collect(bodies, request_).content == body


def test_a_body_announced_over_the_limit_is_not_read(bodies: Bodies) -> None:
    with pytest.raises(BodyTooLarge):
        collect(bodies, (Scope(headers={"content-length": str(LIMIT + 1)}), Proto(None)))


def test_an_endless_body_is_read_to_just_over_the_limit() -> None:
    scope, proto = chunked(*[b"x" * SMALL] * 100)
    bodies = Bodies(limit=LIMIT, together=LIMIT + 2 * SMALL)
    for _ in range(2):  # the first body's memory must be released
        with pytest.raises(BodyTooLarge):
            collect(bodies, (scope, proto))
    assert 2 * LIMIT < proto.taken < 2 * (LIMIT + 2 * SMALL)


def test_large_bodies_have_a_memory_limit_of_their_own(bodies: Bodies) -> None:
    held = [collect(bodies, with_length(LARGE_BODY)) for _ in range(2)]
    with pytest.raises(DoorFull):
        collect(bodies, with_length(LARGE_BODY))
    assert collect(bodies, with_length(b"{}")).content == b"{}"
    for body in held:
        bodies.release(body)
    assert collect(bodies, with_length(LARGE_BODY)).content == LARGE_BODY


def test_a_cancelled_body_releases_its_memory() -> None:
    bodies = Bodies(limit=LIMIT, together=3 * SMALL)

    async def give_up() -> None:
        scope, _ = chunked()
        task = asyncio.create_task(begin(bodies, (scope, Proto(LARGE_BODY, None))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(give_up())
    assert collect(bodies, with_length(LARGE_BODY)).content == LARGE_BODY


def unfinished(client: str, *pieces: bytes) -> tuple[Scope, Proto]:
    """Return a request from an address whose body never ends."""
    scope, _ = chunked()
    return replace(scope, client=client), Proto(*pieces, None)


async def ends_of(
    bodies: Bodies, strangers: Sequence[tuple[Scope, Proto]], late: tuple[Scope, Proto]
) -> tuple[list[str], str]:
    """Begin with strangers' bodies, and then one more; say how each fares: `whole`, `held` or `dropped`."""
    begun = {}
    for each in (*strangers, late):
        body = Body()
        begun[body] = asyncio.ensure_future(begin(bodies, each, body))
        await asyncio.sleep(0.002)
    ends = ["dropped" if body.dropped else "whole" if body.content else "held" for body in begun]
    assert [body for body in begun if body.dropped and (body.pieces or body.held)] == []
    for task in begun.values():
        task.cancel()
    await asyncio.gather(*begun.values(), return_exceptions=True)
    return ends[:-1], ends[-1]


STRANGERS = [unfinished(f"198.51.100.{number}:50000", b"x" * (2 * SMALL)) for number in range(4)]


def test_bodies_that_do_not_end_make_room_for_one_that_does() -> None:
    bodies = Bodies(limit=LIMIT, together=8 * SMALL)
    ends, last = asyncio.run(ends_of(bodies, STRANGERS, with_length(LARGE_BODY)))
    assert (sorted(ends), last) == (["dropped", "held", "held", "held"], "whole")


def test_the_one_goes_that_took_most_room_for_longest() -> None:
    bodies = Bodies(limit=LIMIT, together=8 * SMALL)
    sizes = (1, 6, 1)  # in SMALL; the first has been there for longer, the second holds far more
    strangers = [unfinished(f"198.51.100.{size}:1", b"x" * (size * SMALL)) for size in sizes]
    ends, last = asyncio.run(ends_of(bodies, strangers, with_length(LARGE_BODY)))
    assert (ends[1:], last) == (["dropped", "held"], "whole")


@pytest.mark.parametrize(
    "clients",
    [
        ["198.51.100.7:1", "198.51.100.7:2", "198.51.100.7:3"],
        ["2001:db8:1:2::1:1", "2001:db8:1:2:ffff::2:2", "[2001:db8:1:2::3]:3"],
        ["::ffff:198.51.100.7:1", "198.51.100.7:2", "[::ffff:198.51.100.7]:3"],
    ],
    ids=["IPv4", "IPv6", "IPv4 in IPv6"],
)
def test_one_address_holds_half_of_the_room_at_most(clients: list[str]) -> None:
    bodies = Bodies(limit=4 * SMALL, together=8 * SMALL)
    strangers = [unfinished(client, b"x" * (2 * SMALL)) for client in clients]
    ends, last = asyncio.run(ends_of(bodies, strangers, with_length(b"x" * (4 * SMALL))))
    assert (sorted(ends), last) == (["dropped", "held", "held"], "whole")


def test_neighbours_with_addresses_of_their_own_have_room_of_their_own() -> None:
    bodies = Bodies(limit=4 * SMALL, together=8 * SMALL)
    clients = ["2001:db8:1:2::1:1", "2001:db8:1:3::1:1", "2001:db8:1:4::1:1"]
    strangers = [unfinished(client, b"x" * (2 * SMALL)) for client in clients]
    assert asyncio.run(ends_of(bodies, strangers, with_length(LARGE_BODY))) == (["held"] * 3, "whole")


@pytest.mark.parametrize("more", [(), (b"x",)], ids=["says no more", "goes on"])
def test_the_sender_of_a_dropped_body_is_asked_to_come_back(more: tuple[bytes, ...]) -> None:
    bodies = Bodies(limit=LIMIT, together=3 * SMALL, seconds=0.05)

    class LaterMore(Proto):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield LARGE_BODY
            await asyncio.sleep(0.02)
            for piece in more:
                yield piece
            await asyncio.Event().wait()

    async def scenario() -> None:
        scope, _ = chunked()
        slow = asyncio.ensure_future(begin(bodies, (scope, LaterMore())))
        await asyncio.sleep(0.005)
        assert (await begin(bodies, with_length(LARGE_BODY))).content == LARGE_BODY
        with pytest.raises(DoorFull):
            await slow

    asyncio.run(scenario())


def test_signed_bodies_do_not_count_for_their_address() -> None:
    bodies = Bodies(limit=4 * SMALL, together=8 * SMALL)
    signed_ = [collect(bodies, with_length(LARGE_BODY)) for _ in range(2)]
    for body in signed_:
        bodies.count_as_signed(body)
    assert collect(bodies, with_length(b"x" * (4 * SMALL))).content
    for body in signed_:
        bodies.release(body)
    assert bodies._held_by == {"127.0.0.1": 4 * SMALL}


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x-front-signature": ""}, MissingSignature),
        ({"x-front-request-timestamp": ""}, MissingSignature),
        ({"content-encoding": "gzip"}, EncodedBody),
    ],
)
def test_a_large_body_that_its_headers_refuse_is_not_read(
    bodies: Bodies, headers: dict[str, str], error: type[Exception]
) -> None:
    proto = Proto(LARGE_BODY)
    with pytest.raises(error):
        collect(bodies, (Scope(headers={**MAYBE_SIGNED, "content-length": str(SMALL + 1), **headers}), proto))
    assert proto.taken == 0
