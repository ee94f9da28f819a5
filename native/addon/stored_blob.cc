#include "addon/stored_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "addon/blob.h"

namespace filigree {

namespace {

constexpr size_t kStreams = 8;
constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;

uint64_t mix(uint64_t h) {
  h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93;
  return h ^ (h >> 32);
}

/// Tells damaged files from whole ones; independent streams let it run at the speed of memory.
uint64_t checksum(const uint8_t* data, size_t bytes) {
  uint64_t streams[kStreams];
  for (size_t i = 0; i < kStreams; i++) streams[i] = kMultiplier * (i + 1);
  size_t at = 0;
  for (; at + sizeof streams <= bytes; at += sizeof streams) {
    for (size_t i = 0; i < kStreams; i++) {
      uint64_t word;
      std::memcpy(&word, data + at + 8 * i, 8);
      const uint64_t turned = (streams[i] ^ word) * kMultiplier;
      streams[i] = (turned << 29) | (turned >> 35);
    }
  }
  uint64_t sum = mix(bytes);
  for (; at < bytes; at++) sum = mix(sum ^ data[at]);
  for (const uint64_t stream : streams) sum = mix(sum ^ stream);
  return sum;
}

std::string hexadecimal(uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, number);
  return text;
}

struct File {
  int descriptor;
  explicit File(const char* path) : descriptor(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

/// Code is run as it lies in the file: nobody else may have had a hand in it.
bool trusted(const File& file, size_t bytes) {
  struct stat facts;
  return file.descriptor >= 0 && fstat(file.descriptor, &facts) == 0 && S_ISREG(facts.st_mode) &&
         static_cast<uint64_t>(facts.st_size) == bytes && facts.st_uid == geteuid() &&
         (facts.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

}  // namespace

Napi::Value blobFacts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Blob> blob = requireBlob(env, info[0]);
  if (blob->held && !blob->held->intact(env)) throwCoded(env, "ERR_INPUT", "a constant's ArrayBuffer was transferred");
  Napi::Object facts = Napi::Object::New(env);
  facts.Set("checksum", hexadecimal(checksum(blob->data, blob->bytes)));
  facts.Set("code", blob->code);
  facts.Set("bytes", static_cast<double>(blob->bytes));
  return facts;
}

Napi::Value storedBlob(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsNumber() || !info[2].IsString() || !info[3].IsBoolean()) {
    throw Napi::TypeError::New(env, "storedBlob expects a path, a size, a checksum and a boolean");
  }
  const double size = info[1].As<Napi::Number>().DoubleValue();
  const bool code = info[3].As<Napi::Boolean>().Value();
  if (!(size >= 1 && size <= 1e15) || (code && !executableMemoryAllowed())) return env.Null();
  const size_t bytes = static_cast<size_t>(size);
  const File file(info[0].As<Napi::String>().Utf8Value().c_str());
  if (!trusted(file, bytes)) return env.Null();
  auto blob = std::make_shared<Blob>();
  blob->memory = Block::mapFile(file.descriptor, bytes, code);
  if (!blob->memory.data()) return env.Null();
  blob->data = blob->memory.data();
  blob->bytes = bytes;
  blob->code = code;
  if (hexadecimal(checksum(blob->data, bytes)) != info[2].As<Napi::String>().Utf8Value()) return env.Null();
  return wrapBlob(env, std::move(blob));
}

}  // namespace filigree
