"""Parts: checkpoints that are damaged anywhere, and disks that become full while one is saved."""

import collections
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings

import jax.numpy as jnp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tests' / 'run'))

import test_checkpoints  # noqa: E402
from device.rows import row  # noqa: E402

from faults.files import broken as broken_bytes  # noqa: E402
from jreid.run.checkpoints import CheckpointError, Checkpoints  # noqa: E402

DRAWS = 60
"""Checkpoints with one broken file."""
POINTS = 25
"""Sizes of the disk on which a save fails."""


def broken() -> None:
    """Damages the last of three checkpoints; the one before it must be used, or the last is whole.

    A changed byte can lie where nothing is stored; then what is read must be what was saved.
    """
    rng, outcomes, wrong = np.random.default_rng(0), collections.Counter(), []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test_checkpoints.fill(folder / 'whole', [1, 2, 3], keep=3).close()
        faults = [*test_checkpoints.FAULTS, *range(DRAWS)]
        for fault in faults:
            shutil.copytree(folder / 'whole', folder / 'now')
            last = folder / 'now' / '3'
            if isinstance(fault, str):
                test_checkpoints.damage(last, fault)
            else:
                files = sorted(p for p in last.rglob('*') if p.is_file() and p.stat().st_size)
                path = files[rng.integers(len(files))]
                path.write_bytes(broken_bytes(path.read_bytes(), rng))
                fault = str(path.relative_to(last))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')
                    found = test_checkpoints.restored(Checkpoints(folder / 'now', keep=3))
                test_checkpoints.same(found, found.number)
                outcomes[found.number] += 1
            except Exception as error:
                outcomes['other'] += 1
                wrong.append(
                    f'{fault}: {type(error).__name__}: {" ".join(str(error).split())[:80]}'
                )
            for path in folder.iterdir():
                if path.name != 'whole':
                    shutil.rmtree(path)
    row(
        'damaged checkpoints: the one before it is used, or nothing that counts was damaged',
        f'{outcomes[2]} + {outcomes[3]} of {len(faults)}',
        passed=outcomes[2] + outcomes[3] == len(faults),
        note='; '.join(wrong)[:300],
    )


class _Disk:
    """A small disk: a tmpfs of its own where it may be mounted, else a limit on files' sizes."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.mkdir()
        asked = ['mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', str(folder)]
        try:
            self.mounted = not subprocess.run(asked, capture_output=True).returncode
        except OSError:
            self.mounted = False
        self.hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def used(self) -> int:
        """Returns the bytes in use."""
        return shutil.disk_usage(self.folder).used if self.mounted else 0

    def limit(self, size: int | None) -> None:
        """Leaves the disk, or a file, so many bytes; None for plenty."""
        if self.mounted:
            asked = f'remount,size={64 << 20 if size is None else max(size, 4096)}'
            subprocess.run(['mount', '-o', asked, str(self.folder)], check=True)
        else:
            soft = self.hard if size is None else size
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, self.hard))

    def close(self) -> None:
        """Takes the disk away."""
        self.limit(None)
        if self.mounted:
            subprocess.run(['umount', str(self.folder)], check=True)


def full() -> None:
    """Saves a checkpoint of 2.4 MB on disks that become full at ever later points."""
    rng, survived, failed, wrong = np.random.default_rng(0), 0, 0, []
    small = {'w': jnp.ones(10)}
    large = {name: jnp.asarray(rng.normal(size=150_000), jnp.float32) for name in 'abcd'}
    with tempfile.TemporaryDirectory() as name:
        disk = _Disk(pathlib.Path(name) / 'disk')
        try:
            checkpoints = Checkpoints(disk.folder / 'checkpoints', keep=2)
            checkpoints.save(1, small, {})
            number = 1
            for point in range(POINTS):
                disk.limit(disk.used() + 4096 + point * 100_000)
                number += 1
                try:
                    checkpoints.save(number, large, {})
                    disk.limit(None)
                    continue  # there was room enough
                except CheckpointError as error:
                    failed += 1
                    told = f'intact checkpoints: {", ".join(map(str, checkpoints.numbers()))}'
                    fine = told in str(error) and number - 1 in checkpoints.numbers()
                    wrong += [] if fine else [str(error)[:80]]
                except Exception as error:
                    failed += 1
                    fine = False
                    wrong.append(f'{type(error).__name__}: {str(error)[:80]}')
                disk.limit(None)
                checkpoints.save(number, small, {})  # somebody made room
                again = checkpoints.restore(lambda meta: small)
                survived += fine and again is not None and again.number == number
        finally:
            disk.close()
    row(
        'full disks while a checkpoint is saved: the intact one is named, and the next save works',
        f'{survived} of {failed}',
        passed=survived == failed and failed >= POINTS // 2,
        note='; '.join(
            [
                'a real full disk (tmpfs)' if disk.mounted else 'by a limit on the size of files',
                *wrong,
            ]
        )[:300],
    )
