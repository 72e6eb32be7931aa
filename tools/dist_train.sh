#!/usr/bin/env bash
# Train with GPUS processes on each of NNODES machines (NODE_RANK, MASTER_ADDR, PORT), GPU or CPU.
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
need 2 "CONFIG GPUS [options of train.py]" "$@"
with_torchrun "$2" train.py "$1" "${@:3}"
