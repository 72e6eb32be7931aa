#!/usr/bin/env bash
# Train under slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS come from the environment.
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
need 3 "PARTITION JOB_NAME CONFIG [WORK_DIR] [options of train.py]" "$@"
options=("${@:4}")
if [[ -n "${4:-}" && "$4" != -* ]]; then
    options=(--work-dir "$4" "${@:5}")
fi
with_srun "$1" "$2" train.py "$3" "${options[@]}"
