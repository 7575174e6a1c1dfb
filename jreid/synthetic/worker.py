"""One worker of `processes.write_parts`: `python -m jreid.synthetic.worker JOB`, JOB in JSON.

It prints the number of images of each batch when the batch is done.
"""

import json
import pathlib
import sys

from jreid.synthetic.plan import TreeParameters
from jreid.synthetic.tree import write_part


def _report(images: int) -> None:
    # If the parent has died, this fails and ends the process too.
    print(images, flush=True)


def main(job: str) -> None:
    """Writes the job's part of the tree."""
    fields = json.loads(job)
    write_part(
        pathlib.Path(fields['folder']),
        TreeParameters(**fields['parameters']),
        part=fields['part'],
        parts=fields['parts'],
        done=_report,
    )


if __name__ == '__main__':
    main(sys.argv[1])
