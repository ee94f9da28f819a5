#!/usr/bin/env bash
# Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests on it. Arguments go to vitest.
set -euo pipefail
cd "$(dirname "$0")/.."
flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
npx cmake-js compile --parallel 2 -O out/addon-asan --CDCMAKE_BUILD_TYPE=RelWithDebInfo --CDCMAKE_CXX_FLAGS="$flags"
# Node itself leaks on purpose; V8's guard pages need their handlers.
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allow_user_segv_handler=1
export FILIGREE_ADDON="$PWD/out/addon-asan/Release/filigree.node"
[ -e "$FILIGREE_ADDON" ] || FILIGREE_ADDON="$PWD/out/addon-asan/filigree.node"
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" npx vitest run "$@"
