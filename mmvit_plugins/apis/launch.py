"""Processes of a run: are they there, do they find each other, does one end that cannot go on."""

import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue

import torch
from torch.distributed import DistError

from ..errors import NO_SHARED_MEMORY, UserError, sentence

# Launcher -> how to start, and the numbers (the process, how many there are, ...) and words that it
# leaves in the environment
NEEDED = {
    'pytorch': (
        'tools/dist_train.sh or dist_test.sh (torchrun)',
        ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'),
        ('MASTER_ADDR',),
    ),
    'slurm': (
        'tools/slurm_train.sh or slurm_test.sh (srun)',
        ('SLURM_PROCID', 'SLURM_NTASKS'),
        ('SLURM_NODELIST',),
    ),
    'mpi': (
        'mpirun of Open MPI, with MASTER_ADDR set',
        ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
        ('MASTER_ADDR',),
    ),
}
LOCAL_RANKS = {
    'pytorch': 'LOCAL_RANK',
    'slurm': 'SLURM_LOCALID',
    'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK',
}


def check_launcher(launcher: str) -> None:
    """Refuse to go on alone where a launcher is said to have started several processes.

    Raises:
        UserError: It has not, or this process has no GPU although the machine has some.
    """
    start, numbers, words = NEEDED[launcher]
    for name in (*numbers, *words):
        value = os.environ.get(name, '')
        if not value or (name in numbers and not value.isdecimal()):
            came = f'is {value!r}, where a number is needed' if value else 'is not set'
            raise UserError(
                f'--launcher {launcher} is for processes that were started by {start}, and {name} '
                f'{came} here: start so, or leave --launcher out'
            )
    rank, size, *_ = (int(os.environ[name]) for name in numbers)
    if rank >= size:
        raise UserError(
            f'{numbers[0]} is {rank} (from 0), and {numbers[1]} {size}: start {size} processes'
        )
    port = os.environ.get('MASTER_PORT', '29500')
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f'MASTER_PORT is {port!r}: give a number from 1 to 65535')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ and not shutil.which('scontrol'):
        raise UserError(
            'slurm has no scontrol here, which knows the first machine: set MASTER_ADDR to its name'
        )
    local = int(os.environ.get(LOCAL_RANKS[launcher], 0))
    count = torch.cuda.device_count()
    if torch.cuda.is_available() and local >= count:
        raise UserError(
            f'process {local} (from 0) of this machine has no GPU, there are {count}: start '
            f'{count} on each machine'
        )


@contextmanager
def explain_launch() -> Iterator[None]:
    """Turn a failure to meet into one sentence.

    Raises:
        UserError: The port is taken, or the first process cannot be reached.
    """
    try:
        yield
    except DistError as error:
        address = os.environ.get('MASTER_ADDR')
        port = os.environ.get('MASTER_PORT')
        if 'EADDRINUSE' in str(error) or 'already in use' in str(error):
            raise UserError(
                f'the port {port} is in use on this machine: choose another, as PORT=29501 for the '
                'scripts, or MASTER_PORT'
            ) from error
        raise UserError(
            f'the processes do not find each other at {address}:{port} '
            f'({str(error).splitlines()[0]}): correct MASTER_ADDR and PORT (MASTER_PORT), and '
            'start as many processes as was said'
        ) from error


def end_failing_workers() -> None:
    """Let a process that loads data end where it cannot hand over a batch.

    Python drops the batch with a traceback and goes on, and the run would wait for it for ever.
    """
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: Exception, _: object) -> None:
    shortage = sentence(error)
    if shortage is None:
        traceback.print_exception(error)
    os._exit(NO_SHARED_MEMORY if shortage else 1)
