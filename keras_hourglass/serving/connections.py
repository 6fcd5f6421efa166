"""Connections that do not wait for ever: uvicorn lets a request take any time to come."""

import json
import weakref

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 32 * 1024  # bytes of a request line with its headers
MAX_LINES = 200  # of these; each takes some hundred bytes of memory, however short it is
HEADER_SECONDS = 10.0  # from the first byte of a request to the end of its headers
MAX_CONNECTIONS = 800  # below the 1,024 files that a process may usually have open


def _last_words(status, error, *headers):
    """An answer after which a connection is closed."""
    body = json.dumps({"error": error}).encode()
    lines = [
        f"HTTP/1.1 {status}", *headers, "Connection: close", "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_FULL = _last_words("503 Service Unavailable", "too many connections", "Retry-After: 1")
_NO_HTTP = _last_words(
    "400 Bad Request",
    "A request is HTTP/1.1 as its standard has it. Received: something else. Correct it.",
)
_LARGE = _last_words(
    "431 Request Header Fields Too Large",
    f"Headers have at most {MAX_HEADERS:,} bytes in {MAX_LINES} lines. Received: more. "
    "Leave some out.",
)


class _Refused(Exception):
    """Ends the parsing; the connection is closed already."""


class _Timed(HttpToolsProtocol):
    """A connection is closed where headers or body take too long or have no end.

    Or where nobody takes the answer: uvicorn keeps it and the connection for ever. Or where many
    requests come before the first is answered: uvicorn takes them all in, and after each answer
    as many again as fit into a quarter of a megabyte.
    """

    seconds = 35.0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._clock, self._heading, self._answered = None, 0, None
        self._cycles = weakref.WeakSet()
        # Of the headers of all requests that are not answered yet.
        self._length, self._lines, self._follows, self._in_body = 0, 0, False, False

    def connection_made(self, transport):
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_FULL)
            transport.close()
            return
        self._within(HEADER_SECONDS)

    def connection_lost(self, exc):
        self._within(None)
        if self._answered is not None:
            self._answered.cancel()
        for cycle in self._cycles:  # uvicorn tells the last of several requests only
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data):
        if self.transport.is_closing():
            return
        before = self._heading
        if self._clock is not None and before >= 0:
            self._heading = before + len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._heading == before + len(data) > MAX_HEADERS and self._clock is not None:
            self.transport.abort()  # they have not ended yet
        elif self._clock is None and (self.cycle is None or self.cycle.response_complete):
            self._within(HEADER_SECONDS)  # bytes that are no request

    def send_400_response(self, msg):
        if not self.transport.is_closing():
            self.transport.write(_NO_HTTP)
            self.transport.close()

    def on_message_begin(self):
        self._within(HEADER_SECONDS)
        self._follows = self.cycle is not None and not self.cycle.response_complete
        if not self._follows:
            self._length = self._lines = 0
        super().on_message_begin()

    def on_url(self, url):
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name, value):
        self._count(len(name) + len(value))
        if not self._in_body:  # nobody reads what stands behind a body
            super().on_header(name, value)

    def on_headers_complete(self):
        self._heading, self._in_body = -1, True
        self._within(self.seconds)
        super().on_headers_complete()
        if self.cycle is not None:
            self._cycles.add(self.cycle)

    def on_chunk_header(self):
        self._heading = 0  # headers may follow the last one

    def on_body(self, body):
        self._heading = -1
        super().on_body(body)

    def on_message_complete(self):
        self._heading, self._in_body = 0, False
        self._within(None)
        super().on_message_complete()

    def on_response_complete(self):
        if self._answered is not None:
            self._answered.cancel()
        self._answered = self.loop.call_later(self.seconds, self._not_taken)
        super().on_response_complete()

    def _count(self, length):
        self._length, self._lines = self._length + length, self._lines + 1
        if self._length <= MAX_HEADERS and self._lines <= MAX_LINES:
            return
        if self._follows:  # the next answer is another request's
            self.transport.abort()
        else:
            self.transport.write(_LARGE)
            self.transport.close()
        raise _Refused

    def _within(self, limit):
        if self._clock is not None:
            self._clock.cancel()
        self._clock = limit and self.loop.call_later(limit, self._too_late)

    def _too_late(self):
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def _not_taken(self):
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()  # also where it is being closed, which waits for the rest


def timed_protocol(seconds):
    """uvicorn's protocol with limits.

    Args:
        seconds: from the end of the headers to the end of the body, and again from the end of an
            answer to when all of it is taken.

    Returns:
        The class.
    """
    return type("Timed", (_Timed,), {"seconds": seconds})


def unsent(connections):
    """Bytes of answers that wait until somebody takes them.

    Args:
        connections: the protocols of all connections.
    """
    return sum(one.transport.get_write_buffer_size() for one in connections if one.transport)
