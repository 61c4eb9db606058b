"""The command line run inside the test process."""

from __future__ import annotations

import pytest

from sadcodec import cli


def run_sad(*arguments: str) -> int:
    """Run ``sad`` and return its exit status."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return int(caught.value.code or 0)
