#!/usr/bin/env bash
# Evaluate under slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS come from the environment.
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
need 4 "PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]" "$@"
with_srun "$1" "$2" test.py "$3" "$4" "${@:5}"
