// Writes x86-64 machine code: only the instructions that the generated kernels use, with 64-byte (ZMM) vectors.
// Include only from native/jit sources: its inline functions must not be compiled for an instruction set of kernels.
#pragma once
#include <cstddef>
#include <cstdint>

namespace filigree {
namespace jit {

enum class Reg : uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

/// Vector register 0..31.
struct Zmm {
  uint8_t number;
};

/// [base + disp].
struct Mem {
  Reg base;
  int32_t disp;
};

/// Appends instructions to a buffer. Without a buffer it only counts bytes; the count is that of a writing pass.
class Emitter {
 public:
  Emitter() = default;
  Emitter(uint8_t* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  size_t size() const { return size_; }
  /// True when the buffer was too small; what was written is then useless.
  bool overflowed() const { return buffer_ && size_ > capacity_; }

  void mov(Reg to, Mem from);
  void add(Reg to, int32_t value);
  void ret();
  void prefetchT1(Mem at);
  void prefetchW(Mem at);

  /// 64 bytes, any alignment.
  void load(Zmm to, Mem from) { evexMem({0, 1, 0x10}, to.number, 0, from, 64, false); }
  void store(Mem to, Zmm from) { evexMem({0, 1, 0x11}, from.number, 0, to, 64, false); }
  void zero(Zmm to) { evexReg({1, 1, 0xef}, to.number, to.number, to.number); }
  /// One 32-bit word to all lanes.
  void broadcast(Zmm to, Mem from) { evexMem({1, 2, 0x18}, to.number, 0, from, 4, false); }

  // float32; a memory word is one float for all lanes.
  void fmaWord(Zmm sum, Zmm a, Mem word) { evexMem({1, 2, 0xb8}, sum.number, a.number, word, 4, true); }
  void mulWord(Zmm to, Zmm a, Mem word) { evexMem({0, 1, 0x59}, to.number, a.number, word, 4, true); }
  void mul(Zmm to, Zmm a, Zmm b) { evexReg({0, 1, 0x59}, to.number, a.number, b.number); }
  void addVector(Zmm to, Zmm a, Mem b) { evexMem({0, 1, 0x58}, to.number, a.number, b, 64, false); }
  void add(Zmm to, Zmm a, Zmm b) { evexReg({0, 1, 0x58}, to.number, a.number, b.number); }
  /// A NaN in either operand gives b.
  void max(Zmm to, Zmm a, Zmm b) { evexReg({0, 1, 0x5f}, to.number, a.number, b.number); }
  void min(Zmm to, Zmm a, Zmm b) { evexReg({0, 1, 0x5d}, to.number, a.number, b.number); }

  // int32 and bytes.
  /// sum += dot of four unsigned bytes of a with four signed bytes of the word, in each lane; VNNI.
  void dotBytesWord(Zmm sum, Zmm a, Mem word) { evexMem({1, 2, 0x50}, sum.number, a.number, word, 4, true); }
  void toFloat(Zmm to, Zmm from) { evexReg({0, 1, 0x5b}, to.number, 0, from.number); }
  void toFloatUnsigned(Zmm to, Zmm from) { evexReg({3, 1, 0x7a}, to.number, 0, from.number); }
  /// To nearest, halves to even.
  void toInt(Zmm to, Zmm from) { evexReg({1, 1, 0x5b}, to.number, 0, from.number); }
  void addIntWord(Zmm to, Zmm a, Mem word) { evexMem({1, 1, 0xfe}, to.number, a.number, word, 4, true); }
  void bitAndWord(Zmm to, Zmm a, Mem word) { evexMem({1, 1, 0xdb}, to.number, a.number, word, 4, true); }
  void bitOr(Zmm to, Zmm a, Zmm b) { evexReg({1, 1, 0xeb}, to.number, a.number, b.number); }
  void bitXor(Zmm to, Zmm a, Mem b) { evexMem({1, 1, 0xef}, to.number, a.number, b, 64, false); }
  void bitXorWord(Zmm to, Zmm a, Mem word) { evexMem({1, 1, 0xef}, to.number, a.number, word, 4, true); }
  /// a | b | to.
  void bitOr3(Zmm to, Zmm a, Zmm b) {
    evexReg({1, 3, 0x25}, to.number, a.number, b.number);
    byte(0xfe);
  }
  void shiftLeft(Zmm to, Zmm from, uint8_t bits) {
    evexReg({1, 1, 0x72}, 6, to.number, from.number);
    byte(bits);
  }
  void shiftRight(Zmm to, Zmm from, uint8_t bits) {
    evexReg({1, 1, 0x72}, 2, to.number, from.number);
    byte(bits);
  }
  /// Fills with the sign.
  void shiftRightSigned(Zmm to, Zmm from, uint8_t bits) {
    evexReg({1, 1, 0x72}, 4, to.number, from.number);
    byte(bits);
  }

 private:
  /// Mandatory prefix (0 none, 1 0x66, 2 0xf3, 3 0xf2), opcode map (1 0f, 2 0f38, 3 0f3a), opcode byte.
  struct Opcode {
    uint8_t prefix, map, code;
  };

  void byte(uint8_t value) {
    if (size_ < capacity_) buffer_[size_] = value;
    size_++;
  }
  void word(uint32_t value);
  void evexPrefix(Opcode op, uint8_t reg, uint8_t vector, uint8_t rm, bool memory, bool broadcast);
  void evexReg(Opcode op, uint8_t reg, uint8_t vector, uint8_t rm);
  /// `scale`: bytes of the operand; displacements that are small multiples of it take one byte.
  void evexMem(Opcode op, uint8_t reg, uint8_t vector, Mem at, int scale, bool broadcast);
  void address(uint8_t reg, Mem at, int scale);

  uint8_t* buffer_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace jit
}  // namespace filigree
