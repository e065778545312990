"""A container in Python whose process ends without a word, in this process."""

from __future__ import annotations

import arrayfs


def kill(container: arrayfs.Container) -> None:
    """Leave what a killed process would: nothing is committed, discarded or written, only files are let go of."""
    session = container._session
    session.closed = True
    container._life._end.detach()
    if session.keeper is not None:
        part = session.keeper._journal._part
        if part is not None:
            part.close()
    session.container.pool.close()
    session.container.close()
