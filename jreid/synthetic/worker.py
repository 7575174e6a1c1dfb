"""One worker of `processes.write_parts`: `python -m jreid.synthetic.worker JOB`, JOB in JSON;
prints the images of each batch done.
"""

import json
import pathlib
import sys

from jreid.synthetic.plan import TreeParameters
from jreid.synthetic.tree import write_part


def _report(images: int) -> None:
    print(images, flush=True)  # fails where the parent is gone, which ends this process too


def main(job: str) -> None:
    """Does the job."""
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
