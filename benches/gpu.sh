#!/usr/bin/env bash
# Everything that is worth knowing of one GPU, in one run of at most eight minutes and without network:
#   benches/gpu.sh [FOLDER]      what was measured goes to FOLDER (default: gpu-figures)
# Needs `cargo build --release` before. Where python3 has torch with CUDA, torchvision, safetensors, numpy and pillow,
# the same work is measured against it too. GOLDFISH names another binary, GOLDFISH_DEVICE another device, BATCHES other
# batches of the forward pass (a software driver takes minutes for 32), MINUTES another end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
goldfish=${GOLDFISH:-target/release/goldfish}
out=${1:-gpu-figures}
mkdir -p "$out"
export GOLDFISH_LOG=${GOLDFISH_LOG:-goldfish=debug}

batches=${BATCHES:-1,5,32}
end=$((SECONDS + ${MINUTES:-8} * 60 - 5))

# step NAME SECONDS COMMAND...: its output on the terminal and in a file; a step that fails does not end the others. What is
# left of the eight minutes is the most that any has.
failed=0
step() {
    local name=$1 seconds=$2 start=$SECONDS left=$((end - SECONDS))
    shift 2
    echo "== $name: $*"
    if [ "$left" -lt 5 ]; then
        failed=1
        echo "   left out: there is no time"
        return
    fi
    [ "$seconds" -lt "$left" ] || seconds=$left
    timeout "$seconds" "$@" >"$out/$name.txt" 2>"$out/$name.log"
    local code=$?
    cat "$out/$name.txt"
    if [ "$code" -ne 0 ]; then
        failed=1
        echo "   ended with $code"
        tail -5 "$out/$name.log"
    fi
    echo "   $((SECONDS - start)) s"
}

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
step devices 20 "$goldfish" devices
step selftest 60 "$goldfish" selftest
# The first bench measures the kernels; its log says each candidate's time.
step ops 90 "$goldfish" bench peak ops
step forward 60 "$goldfish" bench forward step --batch "$batches"
step job 30 "$goldfish" bench job
# A software driver has them for the portable kernels alone, which are a GPU's own.
step f16 60 "$goldfish" bench ops forward --precision f16 --kernels portable --batch "$batches"
# Every step computes and sends all it needs: what a host that waits costs shows here and nowhere else. Nothing is taken from an
# earlier run, nor left for the next.
for cache in auto off; do
    step "cache-$cache" 30 "$goldfish" train examples/illustrations --weights random:0 --targets classifier.0 --cache "$cache" \
        --store off --epochs "${EPOCHS:-100}" --overwrite -o "$out/run-$cache"
    grep -hE '^(frozen|train|memory) ' "$out/cache-$cache.log"
done
if python3 -c 'import sys, torch, torchvision; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    step compare 150 python3 benches/compare/compare.py --device cuda --rounds 2 --goldfish "$goldfish" --parts forward,step,error,precisions
    step lora 100 python3 benches/compare/lora.py --device cuda --rounds 1 --goldfish "$goldfish" --parts speed
    # The slowest of PyTorch's last: whatever time is left is for it.
    step tutorial 90 python3 benches/compare/compare.py --device cuda --rounds 1 --goldfish "$goldfish" --parts job
else
    echo "== PyTorch: left out, python3 has no torch with CUDA and torchvision"
fi
echo "== all of it took $((SECONDS)) s"
exit $failed
