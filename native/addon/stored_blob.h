// Blobs kept in files: packings that a later process maps instead of making them again.
#pragma once
#include <napi.h>

namespace filigree {

/// Arguments: a blob. Its contents' checksum as 16 hexadecimal digits, whether they are code, and their size.
Napi::Value blobFacts(const Napi::CallbackInfo& info);
/// Arguments: a path, the size, the checksum and whether it is code. The blob, or null where the file is missing, is
/// not as it was written, belongs to somebody else or can be written by others.
Napi::Value storedBlob(const Napi::CallbackInfo& info);

}  // namespace filigree
