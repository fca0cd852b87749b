"""Bodies that show every lost, doubled or moved byte: 64-bit counters from a seed on."""
import array
import hashlib


def part(start, end, seed=0):
    """The bytes from `start` (a multiple of eight) to `end`.

    Those of another seed (below 2^31) differ in every word.
    """
    first = (seed << 32) + start // 8
    count = (end - start + 7) // 8
    return array.array("Q", range(first, first + count)).tobytes()[:end - start]


def body(size, seed=0):
    return part(0, size, seed)


def digest(data):
    return hashlib.sha256(data).hexdigest()
