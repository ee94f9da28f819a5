# Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and sets the variables that Node runs it with; sourced.
flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
npx cmake-js compile --parallel 2 -O out/addon-asan --CDCMAKE_BUILD_TYPE=RelWithDebInfo --CDCMAKE_CXX_FLAGS="$flags"
# Node itself leaks on purpose; V8's guard pages need their handlers.
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allow_user_segv_handler=1
export FILIGREE_ADDON="$PWD/out/addon-asan/Release/filigree.node"
[ -e "$FILIGREE_ADDON" ] || FILIGREE_ADDON="$PWD/out/addon-asan/filigree.node"
asan_libraries="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
