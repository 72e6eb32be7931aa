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

# number NAME VALUE LEAST [MOST]: stop unless the value is a whole number of that range
number() {
    local range="on"
    [[ -n "${4:-}" ]] && range="to $4"
    if [[ ! "$2" =~ ^(0|[1-9][0-9]{0,8})$ ]] || (($2 < $3 || $2 > ${4:-$2})); then
        echo "error: $1=$2: give a whole number from $3 $range" >&2
        exit 2
    fi
}

# with_torchrun GPUS TOOL ARGUMENTS...: GPUS processes on this machine, NNODES machines in all
with_torchrun() {
    local nodes="${NNODES:-1}" node="${NODE_RANK:-0}" port="${PORT:-29500}"
    number GPUS "$1" 1
    number NNODES "$nodes" 1
    number NODE_RANK "$node" 0 $((nodes - 1))
    number PORT "$port" 1 65535
    # torchrun's own words for a port that is taken are a page long
    if ((node == 0)) && ! "$PYTHON" -c "import socket; socket.create_server(('', $port))" 2>/dev/null; then
        echo "error: the port $port of this machine is in use or forbidden: set PORT to another" >&2
        exit 2
    fi
    exec "$PYTHON" -m torch.distributed.run \
        --nnodes="$nodes" \
        --node_rank="$node" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="$port" \
        --nproc_per_node="$1" \
        "$TOOLS/$2" "${@:3}" --launcher pytorch
}

# with_srun PARTITION JOB_NAME TOOL ARGUMENTS...: GPUS tasks, GPUS_PER_NODE=0 for machines without GPUs
with_srun() {
    local gpus="${GPUS:-4}" per_node="${GPUS_PER_NODE:-4}"
    number GPUS "$gpus" 1
    number GPUS_PER_NODE "$per_node" 0
    number CPUS_PER_TASK "${CPUS_PER_TASK:-5}" 1
    if ! command -v srun >/dev/null; then
        echo "error: there is no srun here: start under slurm, or take tools/dist_*.sh" >&2
        exit 2
    fi
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
