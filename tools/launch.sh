# What the four start scripts share; sourced by them. PYTHON names the interpreter.
set -euo pipefail

TOOLS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$TOOLS")"
if [[ -z "${PYTHON:-}" ]]; then
    PYTHON="$ROOT/.venv/bin/python"
    [[ -x "$PYTHON" ]] || PYTHON="$(command -v python3 || command -v python)"
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# need COUNT USAGE ARGUMENTS...: stop with the usage unless there are COUNT arguments
need() {
    if (($# - 2 < $1)); then
        echo "usage: $0 $2" >&2
        exit 2
    fi
}

# with_torchrun GPUS TOOL ARGUMENTS...: GPUS processes on this machine, NNODES machines in all
with_torchrun() {
    if [[ ! "$1" =~ ^[1-9][0-9]*$ ]]; then
        echo "error: GPUS=$1 is no number of processes" >&2
        exit 2
    fi
    exec "$PYTHON" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="${PORT:-29500}" \
        --nproc_per_node="$1" \
        "$TOOLS/$2" "${@:3}" --launcher pytorch
}

# with_srun PARTITION JOB_NAME TOOL ARGUMENTS...: GPUS tasks, GPUS_PER_NODE=0 for machines without GPUs
with_srun() {
    local gpus="${GPUS:-4}" per_node="${GPUS_PER_NODE:-4}"
    local request=()
    if ((per_node > 0)); then
        per_node=$((gpus < per_node ? gpus : per_node))
        request=(--gres="gpu:$per_node" --ntasks-per-node="$per_node")
    fi
    # SRUN_ARGS holds several options in one string, as in the hosts' scripts.
    # shellcheck disable=SC2086
    exec srun --partition="$1" --job-name="$2" "${request[@]}" --ntasks="$gpus" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "$TOOLS/$3" "${@:4}" --launcher slurm
}
