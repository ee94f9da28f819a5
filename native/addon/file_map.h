#pragma once
#include <napi.h>

namespace filigree {

/// mapFile(path, offset, bytes): an ArrayBuffer over a part of a regular file, mapped copy-on-write: nothing is read
/// until it is used, and writing to it changes this process's copy alone. Copied where the engine refuses memory that
/// is not its own. The file must not be shortened while it is in use.
Napi::Value mapFile(const Napi::CallbackInfo& info);

}  // namespace filigree
