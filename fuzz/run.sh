#!/bin/sh
# Runs the fuzz targets: `fuzz/run.sh [SECONDS] [TARGET...]`, by default all targets, 60 seconds each.
# Needs a C++ compiler and cargo-fuzz (`cargo install cargo-fuzz`). Each target starts from
# fuzz/seeds/TARGET and keeps what it finds in fuzz/corpus/TARGET; an input that fails is left in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(cd fuzz/targets && ls | sed 's/\.rs$//')
# The targets write small files all the time: in memory, where the system has a folder there.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run --fuzz-dir fuzz --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
done
