"""Integers of any size in as few bytes as they need: seven bits in each byte, the lowest first."""

from __future__ import annotations

MAX_BITS = 98  # of a number that is read: one of a million digits would take hours


def put(into: bytearray, number: int) -> None:
    """Append a number that is not negative."""
    while number > 127:
        into.append(number & 127 | 128)
        number >>= 7
    into.append(number)


def get(data: bytes, at: int) -> tuple[int, int]:
    """Read a number; return it and the index after it. Raises IndexError or OverflowError."""
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    number = byte & 127
    for shift in range(7, MAX_BITS, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise OverflowError("expected a smaller number")


def zigzag(number: int) -> int:
    """Map signed numbers to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def unzigzag(number: int) -> int:
    """The reverse of :func:`zigzag`."""
    return -(number + 1 >> 1) if number & 1 else number >> 1
