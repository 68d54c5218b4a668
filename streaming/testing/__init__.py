"""Checks that a part keeps its contract, for the tests of whoever writes one.

Each takes a function that makes a fresh part, uses it as the pipeline would, and raises
`AssertionError` with what is wrong::

    def test_my_source_keeps_the_contract():
        asyncio.run(check_source(lambda: MySource("speech.ogg")))

They find what is wrong with any part of the kind; what yours is to do is for your own tests.
"""

from .backends import check_backend
from .policies import check_commit_policy, check_endpoint_policy, check_trim_policy
from .sinks import check_sink
from .sources import check_source

__all__ = [
    "check_backend",
    "check_commit_policy",
    "check_endpoint_policy",
    "check_sink",
    "check_source",
    "check_trim_policy",
]
