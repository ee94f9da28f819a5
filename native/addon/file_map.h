#pragma once
#include <napi.h>

namespace filigree {

/// mapFile(path, offset, bytes): an ArrayBuffer over a part of a regular file, mapped copy-on-write: nothing is read
/// until it is used, and writing to it changes this process's copy alone. Copied where the engine refuses memory that
/// is not its own. The file must not be shortened while it is in use.
Napi::Value mapFile(const Napi::CallbackInfo& info);

/// Gives memory back that holds pages of a mapped file, if these bytes do: they are read again where they are wanted.
void dropMappedPages(const void* data, size_t size);

/// dropFilePages(): does so with all files that are mapped. What was written to a mapping is lost.
Napi::Value dropFilePages(const Napi::CallbackInfo& info);

}  // namespace filigree
