"""Threads that read ahead for a generator, and that nobody waits for when it ends.

Python ends a generator that was given up in whichever thread finds it, also in one that just begins. There, waiting for
other threads never ends: before Python 3.13 none of them can end until that one has begun.
Belongs here: that pool. Not here: what is read ahead (sources/, stream/).
"""

from concurrent.futures import ThreadPoolExecutor


class AheadPool(ThreadPoolExecutor):
    """Threads whose work that has not begun is dropped at the end of the `with`; what has begun ends by itself."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)
