#!/bin/bash
# Trains with goldfish under Slurm, on several nodes, one process (rank) a GPU:
#
#     sbatch slurm.sh DATA RUN [options of goldfish train]
#     sbatch --nodes 8 slurm.sh /shared/pictures /shared/runs/first --batch-size 256 --micro-batch 4
#
# The same line again goes on with the run, with the settings that it was begun with, on as many nodes as you like; so does the
# job by itself when it was preempted or its time was over. DATA, RUN, the weights (GOLDFISH_WEIGHTS) and the cache must lie on
# a file system that all nodes share, at the same paths. README.md beside this file says more.
#SBATCH --job-name=goldfish
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=goldfish-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
# This shell hears five minutes ahead that the time is over.
#SBATCH --signal=B:USR1@300
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: sbatch slurm.sh DATA RUN [options of goldfish train]" >&2; exit 2; }
data=$1 run=$2
shift 2
# What is kept between runs: which kernels are fastest, what the frozen layers make of pictures.
export GOLDFISH_CACHE=${GOLDFISH_CACHE:-$PWD/goldfish-cache}

# A run that has nothing to show yet lies in a hidden folder within its own.
words=("$data" --output "$run" "$@")
for begun in "$run"/run.toml "$run"/.goldfish-*/run.toml; do
    [ ! -e "$begun" ] || words=("$data" --resume "$run")
done

# Slurm's PMIx must know this goldfish's Open MPI: srun --mpi=list. GPUs are not handed out one by one (--gpus-per-task): a
# rank takes its own of those that it sees. Without PMIx, Open MPI's launcher takes the nodes from Slurm as well:
#     mpirun --bind-to none -x GOLDFISH_CACHE goldfish train "${words[@]}" &
# and the ranks are told below by the one that is on this node, in the place of scancel: pkill -TERM -P "$job" -x goldfish
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" goldfish train "${words[@]}" &
job=$!

# When the time is over the ranks are told, and put the run down. (At a SIGTERM of its own srun would kill them at once.)
over=
trap 'over=yes; scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1
# Of a preemption they hear from Slurm, which queues the job again; this shell waits for them.
trap : TERM
code=0
wait "$job" || code=$?
# A signal ends a wait.
while kill -0 "$job" 2>/dev/null; do
    code=0
    wait "$job" || code=$?
done

if [ -n "$over" ] && [ "$code" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
