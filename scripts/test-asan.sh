#!/usr/bin/env bash
# Runs the tests on the addon with sanitizers. Arguments go to vitest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/asan-env.sh
LD_PRELOAD="$asan_libraries" npx vitest run "$@"
