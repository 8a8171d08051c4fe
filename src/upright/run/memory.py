"""Keeping memory that was freed, as the next step of a computation asks for the same sizes again."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
KEPT = 2**30  # bytes


def keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks instead of giving them back to the system; elsewhere this does nothing.

    Torch on a CPU frees and asks for tensors of many megabytes in every step. Fresh pages for each of them cost a
    quarter of the time of a small model's training.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)
