"""Connections that do not wait for ever: uvicorn lets a request take any time to come."""

import weakref

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 32 * 1024  # bytes of a request line with its headers
HEADER_SECONDS = 10.0  # from the first byte of a request to the end of its headers
MAX_CONNECTIONS = 800  # below the 1,024 files that a process may usually have open
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: 33\r\n\r\n"
    b'{"error": "too many connections"}'
)


class _Timed(HttpToolsProtocol):
    """A connection is closed where headers or body take too long or have no end.

    Or where nobody takes the answer: uvicorn keeps it and the connection for ever.
    """

    seconds = 35.0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._clock, self._heading, self._answered = None, 0, None
        self._cycles = weakref.WeakSet()

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
        if self._heading == before + len(data) > MAX_HEADERS and self._clock is not None:
            self.transport.abort()  # they have not ended yet
        elif self._clock is None and (self.cycle is None or self.cycle.response_complete):
            self._within(HEADER_SECONDS)  # bytes that are no request

    def on_message_begin(self):
        self._within(HEADER_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self):
        self._heading = -1
        self._within(self.seconds)
        super().on_headers_complete()
        if self.cycle is not None:
            self._cycles.add(self.cycle)

    def on_message_complete(self):
        self._heading = 0
        self._within(None)
        super().on_message_complete()

    def on_response_complete(self):
        if self._answered is not None:
            self._answered.cancel()
        self._answered = self.loop.call_later(self.seconds, self._not_taken)
        super().on_response_complete()

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
