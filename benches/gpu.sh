#!/usr/bin/env bash
# Everything that is worth knowing of one GPU, in one run of at most eight minutes and without network:
#   benches/gpu.sh [FOLDER]      what was measured goes to FOLDER (default: gpu-figures)
# Needs `cargo build --release` before. Where python3 has torch with CUDA, torchvision, safetensors, numpy and pillow,
# the same work is measured against it too. GOLDFISH names another binary, GOLDFISH_DEVICE another device.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
goldfish=${GOLDFISH:-target/release/goldfish}
out=${1:-gpu-figures}
mkdir -p "$out"
export GOLDFISH_LOG=${GOLDFISH_LOG:-goldfish=debug}

# step NAME SECONDS COMMAND...: its output on the terminal and in a file; a step that fails does not end the others.
failed=0
step() {
    local name=$1 seconds=$2 start=$SECONDS
    shift 2
    echo "== $name: $*"
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
step forward 60 "$goldfish" bench forward step --batch 1,5,32
step job 30 "$goldfish" bench job
step f16 60 "$goldfish" bench ops forward --precision f16 --batch 1,5,32
if python3 -c 'import sys, torch, torchvision; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    step compare 150 python3 benches/compare/compare.py --device cuda --rounds 2 --goldfish "$goldfish" --parts forward,step,error,precisions
    step lora 120 python3 benches/compare/lora.py --device cuda --rounds 1 --goldfish "$goldfish" --parts speed
fi
exit $failed
