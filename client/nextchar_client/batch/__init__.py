"""Texts by the million: the library behind ``nextchar batch``.

From a ``Job`` to records, in order, with bounded memory::

    from nextchar_client.batch import Job, records, to_dataframe

    job = Job(count=1000, prompt="", columns=("name", "city"), unique=True)
    frame = to_dataframe(records(job, seed=7, max_characters=40))

``job`` says what to make; ``plan`` cuts it into calls, ``source`` makes their texts in order, ``filters`` (with
``seen``) drops those that nobody wants, ``sink`` (with ``layout`` and ``state``) writes the rest so that a killed
command continues, and ``work`` joins them. Invariant: the records depend on the job, the options, the seed and the
model alone; not on how many calls run at once, nor on when it was killed.
"""

from .api import records, to_dataframe
from .job import Job
from .record import Record

__all__ = ["Job", "Record", "records", "to_dataframe"]
