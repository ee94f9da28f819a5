#include "jit/emitter.h"

namespace filigree {
namespace jit {

void Emitter::word(uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) byte(static_cast<uint8_t>(value >> shift));
}

void Emitter::address(uint8_t reg, Mem at, int scale) {
  const uint8_t base = static_cast<uint8_t>(at.base) & 7;
  const uint8_t fields = static_cast<uint8_t>((reg & 7) << 3 | base);
  const bool exact = at.disp % scale == 0;
  const int32_t scaled = at.disp / scale;
  // Without displacement, base 5 would mean rip-relative.
  const bool none = at.disp == 0 && base != 5;
  const bool small = exact && scaled >= -128 && scaled <= 127;
  byte(static_cast<uint8_t>((none ? 0x00 : small ? 0x40 : 0x80) | fields));
  if (base == 4) byte(0x24);
  if (none) return;
  if (small) {
    byte(static_cast<uint8_t>(scaled));
  } else {
    word(static_cast<uint32_t>(at.disp));
  }
}

void Emitter::mov(Reg to, Mem from) {
  const uint8_t reg = static_cast<uint8_t>(to), base = static_cast<uint8_t>(from.base);
  byte(static_cast<uint8_t>(0x48 | (reg >> 3) << 2 | base >> 3));
  byte(0x8b);
  address(reg, from, 1);
}

void Emitter::add(Reg to, int32_t value) {
  const uint8_t reg = static_cast<uint8_t>(to);
  byte(static_cast<uint8_t>(0x48 | reg >> 3));
  const bool small = value >= -128 && value <= 127;
  byte(small ? 0x83 : 0x81);
  byte(static_cast<uint8_t>(0xc0 | (reg & 7)));
  if (small) {
    byte(static_cast<uint8_t>(value));
  } else {
    word(static_cast<uint32_t>(value));
  }
}

void Emitter::ret() { byte(0xc3); }

void Emitter::prefetchT1(Mem at) {
  if (static_cast<uint8_t>(at.base) >= 8) byte(0x41);
  byte(0x0f);
  byte(0x18);
  address(2, at, 1);
}

void Emitter::prefetchW(Mem at) {
  if (static_cast<uint8_t>(at.base) >= 8) byte(0x41);
  byte(0x0f);
  byte(0x0d);
  address(1, at, 1);
}

void Emitter::evexPrefix(Opcode op, uint8_t reg, uint8_t vector, uint8_t rm, bool memory, bool broadcast) {
  // Register numbers are stored inverted; bit 4 of a register operand takes the place of a memory operand's index.
  const int r = ~reg >> 3 & 1, rHigh = ~reg >> 4 & 1, b = ~rm >> 3 & 1;
  const int x = memory ? 1 : ~rm >> 4 & 1;
  byte(0x62);
  byte(static_cast<uint8_t>(r << 7 | x << 6 | b << 5 | rHigh << 4 | op.map));
  byte(static_cast<uint8_t>((~vector & 15) << 3 | 4 | op.prefix));
  byte(static_cast<uint8_t>(0x40 | (broadcast ? 0x10 : 0) | (~vector >> 4 & 1) << 3));
  byte(op.code);
}

void Emitter::evexReg(Opcode op, uint8_t reg, uint8_t vector, uint8_t rm) {
  evexPrefix(op, reg, vector, rm, false, false);
  byte(static_cast<uint8_t>(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

void Emitter::evexMem(Opcode op, uint8_t reg, uint8_t vector, Mem at, int scale, bool broadcast) {
  evexPrefix(op, reg, vector, static_cast<uint8_t>(at.base), true, broadcast);
  address(reg, at, scale);
}

}  // namespace jit
}  // namespace filigree
