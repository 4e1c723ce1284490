#!/usr/bin/env bash
# Everything about the GPU that only a real one can tell, the most valuable first; nine minutes on an H200. By hand.
#
#   cargo build --release && cargo test --release --test sempair --no-run     on any machine
#   tests/gpu.sh SEMPAIR TESTS [FOLDER]                                       on the one with the GPU
#
# SEMPAIR is target/release/sempair, TESTS the test program that cargo names. It needs a driver and NVRTC. PyTorch is
# measured beside it if `python3` has it with CUDA. Each result is a line of JSON in FOLDER/gpu.jsonl, with the part's name.
set -u
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
sempair=$(realpath "$1") tests=$(realpath "$2") folder=${3:-gpu-results} here=$(realpath "$(dirname "$0")")
mkdir -p "$folder" && folder=$(realpath "$folder")
results=$folder/gpu.jsonl work=$(mktemp -d) begun=$SECONDS
trap 'rm -r "$work"' EXIT
cd "$work" || exit 2
: > "$results"

# part NAME SECONDS COMMAND..: runs a command within its budget, and notes how it ended.
part() {
    local name=$1 budget=$2 start=$SECONDS
    shift 2
    timeout "$budget" "$@" > "$folder/$name.out" 2> "$folder/$name.log"
    local status=$?
    printf '{"part": "%s", "exit_code": %d, "seconds": %d}\n' "$name" "$status" "$((SECONDS - start))" | tee -a "$results"
    return "$status"
}

# measured NAME SECONDS COMMAND..: the same for a command that prints JSON, which becomes the result.
measured() {
    part "$@" || { tail -3 "$folder/$1.log"; return; }
    printf '{"part": "%s", "result": %s}\n' "$1" "$(tr -d '\n' < "$folder/$1.out")" >> "$results"
}

measured devices 60 "$sempair" devices --json
# The first start compiles the kernels; the second reads them.
measured first-start 60 "$sempair" bench step --device cuda --model resnet-small --image 32 --steps 2 --json
part second-start 20 "$sempair" bench step --device cuda --model resnet-small --image 32 --steps 2 --json

# (a) Every method of the device, every loss and whole steps against the CPU.
SEMPAIR_REAL_GPU=1 part methods 120 "$tests" cuda::methods:: cuda::losses:: cuda::steps:: --test-threads 4
grep -E 'panicked|on the CPU|other bits|FAILED|test result' "$folder/methods.out" | head -20

# (b) Where the time of a step goes, by sizes of layers, with this GPU's peaks; (f) its memory.
for model in resnet50 vit-s8 resnet18; do
    measured "profile-$model" 60 "$sempair" bench step --device cuda --model "$model" --pairs 256 --steps 5 --profile sizes --json
done

# (c) Steps beside PyTorch, in turn.
torch=no
python3 -c 'import torch; assert torch.cuda.is_available()' 2> "$folder/torch.log" && torch=yes
printf '{"part": "torch", "result": "%s"}\n' "$torch" >> "$results"
for model in resnet50 vit-s8 resnet18 resnet18-cifar; do
    for round in 1 2; do
        measured "step-$model-$round" 40 "$sempair" bench step --device cuda --model "$model" --pairs 256 --steps 20 --json
        [ "$torch" = no ] || measured "torch-$model-$round" 60 python3 "$here/gpu_torch.py" "$model" 256
    done
done

# (d) What NVIDIA's checker finds in a step.
if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck; do
        part "sanitizer-$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 1 \
            "$sempair" bench step --device cuda --model resnet-small --image 16 --pairs 4 --steps 1
    done
fi

# (e) The same training on both devices: the records hold the losses by epoch.
small=(--set pretrain.epochs=3 --set pairs.per_category=64 --set precision=f32 --quiet)
for device in cuda cpu; do
    part "pretrain-$device" 90 "$sempair" pretrain "${small[@]}" --device "$device" --out "$work/$device" &&
        printf '{"part": "record-%s", "result": %s}\n' "$device" \
            "$("$sempair" runs --last 1 --json --out "$work/$device" | tr -d '\n')" >> "$results"
done

echo "$((SECONDS - begun)) seconds; results are in $results"
