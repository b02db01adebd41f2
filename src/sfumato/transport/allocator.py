"""Large receive buffers without a page fault for every page of every message."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEPT_BYTES = 256 << 20


def keep_large_buffers() -> None:
    """Tells glibc to reuse freed buffers of up to 32 MiB instead of returning them to the kernel.

    By default each one is mapped and unmapped anew, and the kernel clears its pages each time: a third of the time
    of a 1 MB echo round (``docs/design/0002-transport.md``). At most 256 MiB of freed memory are kept at the end of
    the heap. Process-wide, so only programs of our own call it: the command line and the clouds, never the library
    inside a user's program. Does nothing without glibc.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)
