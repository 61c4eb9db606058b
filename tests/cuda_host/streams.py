"""What is in order on the streams of a machine, and memory that two of them use without order.

Work on one stream is in order, on two only through an event that one records and the other waits
for, or if the host has waited in between. The stand-in runs everything in the order of the calls: a
wait that is missing would change nothing there. Memory that is freed goes to the next array that is
allocated on the same stream, as in CuPy, whatever other streams still do with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Clock", "StreamError", "StreamOrder", "Uses"]

Stream = tuple[int, int]  # device and pointer
Clock = dict[Stream, int]  # up to which number of a stream's work something has happened


class StreamError(Exception):
    """Two streams use the same memory, one of them writes, and nothing orders them."""


@dataclass
class Uses:
    """The last uses of memory: of each stream, reading and writing, its number and what it was."""

    last: dict[tuple[Stream, bool], tuple[int, str]] = field(default_factory=dict)

    def add(self, other: Uses) -> None:
        for key, use in other.last.items():
            self.last[key] = max(use, self.last.get(key, use))


class StreamOrder:
    """Clocks of the streams. Nothing is noted until there are two."""

    def __init__(self) -> None:
        self.several = False
        self._seen: dict[Stream, Clock] = {}
        self._host: Clock = {}
        self._freed: dict[Stream, Uses] = {}

    def _of(self, stream: Stream) -> Clock:
        return self._seen.setdefault(stream, {stream: 0})

    def recorded(self, stream: Stream) -> Clock:
        """Return what an event stands for that is recorded now."""
        return dict(self._of(stream))

    def everything(self) -> Clock:
        """Return what has happened once all streams are done."""
        return {stream: seen[stream] for stream, seen in self._seen.items()}

    def wait(self, stream: Stream, event: Clock) -> None:
        """Have what a stream does from now on wait for an event."""
        _merge(self._of(stream), event)

    def wait_on_host(self, event: Clock) -> None:
        """Have whatever is asked for from now on wait for an event."""
        _merge(self._host, event)

    def use(self, stream: Stream, uses: Uses, writes: bool, what: str) -> None:
        """Note a use of memory.

        Raises
        ------
        StreamError
        """
        if not self.several:
            return
        seen = self._of(stream)
        _merge(seen, self._host)
        seen[stream] += 1
        for (other, written), (number, before) in uses.last.items():
            if other != stream and (writes or written) and number > seen.get(other, 0):
                raise StreamError(
                    f"{what} on stream {stream[1]} {'writes' if writes else 'reads'} memory that "
                    f"{before} {'writes' if written else 'reads'} on stream {other[1]}, with "
                    "nothing to order the two"
                )
        uses.last[stream, writes] = (seen[stream], what)

    def free(self, stream: Stream, uses: Uses) -> None:
        """Give memory back to where it was allocated."""
        if self.several:
            self._freed.setdefault(stream, Uses()).add(uses)

    def allocated(self, stream: Stream) -> Uses:
        """Return the uses that memory has seen that is allocated now."""
        uses = Uses()
        uses.add(self._freed.get(stream, uses))
        return uses


def _merge(clock: Clock, other: Clock) -> None:
    for stream, number in other.items():
        clock[stream] = max(number, clock.get(stream, 0))
