#!/usr/bin/env bash
# A constant of a loss is changed at a later commit: `verify` and `why` find it. By hand: three release builds, some minutes
# each, and a table of seconds.
#
#   tests/verify_planted.sh [FOLDER]     FOLDER is new and stays; by default a temporary folder that is removed
#
# The working tree's last commit is cloned; uncommitted changes are not tested.
set -eu
source=$(realpath "$(dirname "$0")/..")
if [ $# -ge 1 ]; then
    mkdir "$1"
    place=$(realpath "$1")
else
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
fi
git clone --quiet --no-hardlinks "$source" "$place/repository"
cd "$place/repository"
git config user.name test
git config user.email test@example.org
unset CARGO_TARGET_DIR
export SEMPAIR_DEVICE=cpu
sempair=$PWD/target/release/sempair
tiny=(--set pairs.categories=4 --set pairs.per_category=16 --set pretrain.epochs=6 --set pretrain.batch=16
    --set 'evaluation.sets=["synth-10"]' --set probe.iterations=20 --methods simclr --seeds 1)

# said WHAT TEXT FILE: the file has the text.
said() {
    grep -qF -- "$2" "$3" || {
        echo "FAILED: $1: no \`$2\` in:"
        cat "$3"
        exit 1
    }
    echo "ok: $1"
}

# ended WHAT CODE IS: the exit code is the expected one.
ended() {
    [ "$2" = "$3" ] || { echo "FAILED: $1: exit code $3 and not $2"; cat "$place/out" "$place/log"; exit 1; }
    echo "ok: $1"
}

cargo build --release --locked --quiet
"$sempair" table transfer --quiet "${tiny[@]}" > "$place/out"
then=$(git rev-parse HEAD)

# NT-Xent in closed form divides the similarities by another temperature than the settings say.
file=src/methods/simclr.rs
old='let loss = nt_xent_in_closed_form(pass.on_tape(), temperature);'
new='let loss = nt_xent_in_closed_form(pass.on_tape(), 1.5 * temperature);'
[ "$(grep -cF "$old" "$file")" = 1 ] || { echo "FAILED: $file has not one line with $old"; exit 1; }
sed -i "s/$old/$new/" "$file"
git commit --quiet --message "Another temperature" -- "$file"
cargo build --release --locked --quiet

status=0
"$sempair" verify transfer --quick > "$place/out" 2> "$place/log" || status=$?
ended "another constant gives other figures" 1 "$status"
said "the verdict" "DIFFERENT" "$place/out"
said "the first stage" "differs first in stage pretrain: " "$place/out"
said "the cause" "cause: the code differs: methods::simclr (without \`--quick\`" "$place/out"
said "baselines are not trained, and come out again" "raw pixels none synth-10 seed 0" "$place/out"

"$sempair" why transfer "${tiny[@]}" > "$place/out"
said "why names the file" "methods::simclr " "$place/out"

# Without --quick, the program of the recorded commit is built, and everything comes out again.
status=0
"$sempair" verify transfer > "$place/out" 2> "$place/log" || status=$?
ended "the recorded commit gives the recorded figures" 0 "$status"
said "it was built" "building the program of commit ${then:0:12}" "$place/log"
said "all five cells" "5 runs repeated: 5 identical" "$place/out"
