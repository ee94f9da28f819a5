#!/usr/bin/env bash
# Runs the fuzzer on the addon with sanitizers. Arguments go to the fuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
npm run -s build:fuzz
source scripts/asan-env.sh
LD_PRELOAD="$asan_libraries" node out/fuzz/test/fuzz/main.js "$@"
