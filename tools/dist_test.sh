#!/usr/bin/env bash
# Evaluate with GPUS processes on each of NNODES machines (NODE_RANK, MASTER_ADDR, PORT), GPU or CPU.
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
need 3 "CONFIG CHECKPOINT GPUS [options of test.py]" "$@"
with_torchrun "$3" test.py "$1" "$2" "${@:4}"
