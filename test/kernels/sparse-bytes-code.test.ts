import { describe, expect, it } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { isas, pack } from './harness.ts';
import { listing, readPiece } from './sparse-code.ts';

const defaults = {
  groups: 1,
  channels_in: 4,
  channels_out: 4,
  taps: 1,
  transposed: 0,
  residual: 0,
  activation: 0,
  alpha: 0,
  beta: 0,
  tiles: 1,
  tile_block: 0,
  prefetch_output: 0,
  weights_unsigned: 0,
  input_signed: 0,
  input_zero_point: 0,
  output: 1,
  output_zero_point: 0,
  output_scale: 1,
  residual_signed: 0,
  residual_zero_point: 0,
  residual_scale: 0.5,
  middle: 0,
  middle_low: 0,
  middle_high: 0,
  middle_offset: 0,
  middle_scale: 1,
  middle_shift: 0,
};

function piece(changes: object) {
  const sources = [
    Int8Array.from({ length: 16 }, (_, i) => (i < 4 ? i + 1 : 0)),
    null,
    Int32Array.of(9, 8, 7, 6),
    Float32Array.of(1, 2, 3, 4),
  ];
  const bytes = native().packingBytes(
    pack('avx512vnni', 'pack.conv.segments.sparse.u8', sources, { ...defaults, ...changes }),
  );
  return readPiece(bytes, 0);
}

describe.runIf(isas.includes('avx512vnni'))('generated 8-bit code', () => {
  it('multiplies, scales, rounds and packs four rows', () => {
    expect(piece({}).hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      62f27d48185602     ; vbroadcastss zmm2,[rsi+0x8]
      62f27d48185e03     ; vbroadcastss zmm3,[rsi+0xc]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481020       ; vmovups zmm4,[rax]
      62f25d58504604     ; vpdpbusd zmm0,zmm4,word [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62f17c485bc0       ; vcvtdq2ps zmm0,zmm0
      62f17c58594605     ; vmulps zmm0,zmm0,word [rsi+0x14]
      62f17c485bc9       ; vcvtdq2ps zmm1,zmm1
      62f17458594e06     ; vmulps zmm1,zmm1,word [rsi+0x18]
      62f17c485bd2       ; vcvtdq2ps zmm2,zmm2
      62f16c58595607     ; vmulps zmm2,zmm2,word [rsi+0x1c]
      62f17c485bdb       ; vcvtdq2ps zmm3,zmm3
      62f16458595e08     ; vmulps zmm3,zmm3,word [rsi+0x20]
      62f27d48186609     ; vbroadcastss zmm4,[rsi+0x24]
      62f27d48186e0a     ; vbroadcastss zmm5,[rsi+0x28]
      62f17c485fc4       ; vmaxps zmm0,zmm0,zmm4
      62f17c485dc5       ; vminps zmm0,zmm0,zmm5
      62f17d485bc0       ; vcvtps2dq zmm0,zmm0
      62f174485fcc       ; vmaxps zmm1,zmm1,zmm4
      62f174485dcd       ; vminps zmm1,zmm1,zmm5
      62f17d485bc9       ; vcvtps2dq zmm1,zmm1
      62f1754872f108     ; vpslld zmm1,zmm1,0x8
      62f16c485fd4       ; vmaxps zmm2,zmm2,zmm4
      62f16c485dd5       ; vminps zmm2,zmm2,zmm5
      62f17d485bd2       ; vcvtps2dq zmm2,zmm2
      62f16d4872f210     ; vpslld zmm2,zmm2,0x10
      62f164485fdc       ; vmaxps zmm3,zmm3,zmm4
      62f164485ddd       ; vminps zmm3,zmm3,zmm5
      62f17d485bdb       ; vcvtps2dq zmm3,zmm3
      62f1654872f318     ; vpslld zmm3,zmm3,0x18
      62f17d48ebc1       ; vpord zmm0,zmm0,zmm1
      62f36d4825c3fe     ; vpternlogd zmm0,zmm2,zmm3,0xfe
      62d17c481100       ; vmovups [r8],zmm0
      c3                 ; ret
    `),
    );
  });

  it('adds float residuals', () => {
    expect(piece({ residual: 1, activation: 1, output: 0 }).hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      62f27d48185602     ; vbroadcastss zmm2,[rsi+0x8]
      62f27d48185e03     ; vbroadcastss zmm3,[rsi+0xc]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481020       ; vmovups zmm4,[rax]
      62f25d58504604     ; vpdpbusd zmm0,zmm4,word [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      488b4f08           ; mov rcx,[rdi+0x8]
      62f17c485bc0       ; vcvtdq2ps zmm0,zmm0
      62f17c58594605     ; vmulps zmm0,zmm0,word [rsi+0x14]
      62f17c485801       ; vaddps zmm0,zmm0,[rcx]
      62f17c485bc9       ; vcvtdq2ps zmm1,zmm1
      62f17458594e06     ; vmulps zmm1,zmm1,word [rsi+0x18]
      62f17448584901     ; vaddps zmm1,zmm1,[rcx+0x40]
      62f17c485bd2       ; vcvtdq2ps zmm2,zmm2
      62f16c58595607     ; vmulps zmm2,zmm2,word [rsi+0x1c]
      62f16c48585102     ; vaddps zmm2,zmm2,[rcx+0x80]
      62f17c485bdb       ; vcvtdq2ps zmm3,zmm3
      62f16458595e08     ; vmulps zmm3,zmm3,word [rsi+0x20]
      62f16448585903     ; vaddps zmm3,zmm3,[rcx+0xc0]
      62f15d48efe4       ; vpxord zmm4,zmm4,zmm4
      62f15c485fc0       ; vmaxps zmm0,zmm4,zmm0
      62f15c485fc9       ; vmaxps zmm1,zmm4,zmm1
      62f15c485fd2       ; vmaxps zmm2,zmm4,zmm2
      62f15c485fdb       ; vmaxps zmm3,zmm4,zmm3
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      62d17c48115002     ; vmovups [r8+0x80],zmm2
      62d17c48115803     ; vmovups [r8+0xc0],zmm3
      c3                 ; ret
    `),
    );
  });

  it('handles signs and zero points', () => {
    const signed = { input_signed: 1, output: 2, residual: 1, residual_signed: 1 };
    const changes = { ...signed, output_zero_point: 3, residual_zero_point: 2, output_scale: 3 };
    expect(piece(changes).hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      62f27d48185602     ; vbroadcastss zmm2,[rsi+0x8]
      62f27d48185e03     ; vbroadcastss zmm3,[rsi+0xc]
      62f27d48186604     ; vbroadcastss zmm4,[rsi+0x10]
      488b4718           ; mov rax,[rdi+0x18]
      62f15d48ef28       ; vpxord zmm5,zmm4,[rax]
      62f25558504605     ; vpdpbusd zmm0,zmm5,word [rsi+0x14]
      4c8b07             ; mov r8,[rdi]
      488b4f08           ; mov rcx,[rdi+0x8]
      62f17c485bc0       ; vcvtdq2ps zmm0,zmm0
      62f17c58594606     ; vmulps zmm0,zmm0,word [rsi+0x18]
      62f17c481021       ; vmovups zmm4,[rcx]
      62f1554872f418     ; vpslld zmm5,zmm4,0x18
      62f1554872e518     ; vpsrad zmm5,zmm5,0x18
      62f15558fe6e07     ; vpaddd zmm5,zmm5,word [rsi+0x1c]
      62f17c485bed       ; vcvtdq2ps zmm5,zmm5
      62f15458596e08     ; vmulps zmm5,zmm5,word [rsi+0x20]
      62f17c4858c5       ; vaddps zmm0,zmm0,zmm5
      62f17c485bc9       ; vcvtdq2ps zmm1,zmm1
      62f17458594e09     ; vmulps zmm1,zmm1,word [rsi+0x24]
      62f1554872f410     ; vpslld zmm5,zmm4,0x10
      62f1554872e518     ; vpsrad zmm5,zmm5,0x18
      62f15558fe6e0a     ; vpaddd zmm5,zmm5,word [rsi+0x28]
      62f17c485bed       ; vcvtdq2ps zmm5,zmm5
      62f15458596e0b     ; vmulps zmm5,zmm5,word [rsi+0x2c]
      62f1744858cd       ; vaddps zmm1,zmm1,zmm5
      62f17c485bd2       ; vcvtdq2ps zmm2,zmm2
      62f16c5859560c     ; vmulps zmm2,zmm2,word [rsi+0x30]
      62f1554872f408     ; vpslld zmm5,zmm4,0x8
      62f1554872e518     ; vpsrad zmm5,zmm5,0x18
      62f15558fe6e0d     ; vpaddd zmm5,zmm5,word [rsi+0x34]
      62f17c485bed       ; vcvtdq2ps zmm5,zmm5
      62f15458596e0e     ; vmulps zmm5,zmm5,word [rsi+0x38]
      62f16c4858d5       ; vaddps zmm2,zmm2,zmm5
      62f17c485bdb       ; vcvtdq2ps zmm3,zmm3
      62f16458595e0f     ; vmulps zmm3,zmm3,word [rsi+0x3c]
      62f1554872f400     ; vpslld zmm5,zmm4,0x0
      62f1554872e518     ; vpsrad zmm5,zmm5,0x18
      62f15558fe6e10     ; vpaddd zmm5,zmm5,word [rsi+0x40]
      62f17c485bed       ; vcvtdq2ps zmm5,zmm5
      62f15458596e11     ; vmulps zmm5,zmm5,word [rsi+0x44]
      62f1644858dd       ; vaddps zmm3,zmm3,zmm5
      62f27d48186612     ; vbroadcastss zmm4,[rsi+0x48]
      62f27d48186e13     ; vbroadcastss zmm5,[rsi+0x4c]
      62f17c58594614     ; vmulps zmm0,zmm0,word [rsi+0x50]
      62f17c485fc4       ; vmaxps zmm0,zmm0,zmm4
      62f17c485dc5       ; vminps zmm0,zmm0,zmm5
      62f17d485bc0       ; vcvtps2dq zmm0,zmm0
      62f17d58fe4615     ; vpaddd zmm0,zmm0,word [rsi+0x54]
      62f17458594e16     ; vmulps zmm1,zmm1,word [rsi+0x58]
      62f174485fcc       ; vmaxps zmm1,zmm1,zmm4
      62f174485dcd       ; vminps zmm1,zmm1,zmm5
      62f17d485bc9       ; vcvtps2dq zmm1,zmm1
      62f17558fe4e17     ; vpaddd zmm1,zmm1,word [rsi+0x5c]
      62f1754872f108     ; vpslld zmm1,zmm1,0x8
      62f16c58595618     ; vmulps zmm2,zmm2,word [rsi+0x60]
      62f16c485fd4       ; vmaxps zmm2,zmm2,zmm4
      62f16c485dd5       ; vminps zmm2,zmm2,zmm5
      62f17d485bd2       ; vcvtps2dq zmm2,zmm2
      62f16d58fe5619     ; vpaddd zmm2,zmm2,word [rsi+0x64]
      62f16d4872f210     ; vpslld zmm2,zmm2,0x10
      62f16458595e1a     ; vmulps zmm3,zmm3,word [rsi+0x68]
      62f164485fdc       ; vmaxps zmm3,zmm3,zmm4
      62f164485ddd       ; vminps zmm3,zmm3,zmm5
      62f17d485bdb       ; vcvtps2dq zmm3,zmm3
      62f16558fe5e1b     ; vpaddd zmm3,zmm3,word [rsi+0x6c]
      62f1654872f318     ; vpslld zmm3,zmm3,0x18
      62f17d48ebc1       ; vpord zmm0,zmm0,zmm1
      62f36d4825c3fe     ; vpternlogd zmm0,zmm2,zmm3,0xfe
      62f17d58ef461c     ; vpxord zmm0,zmm0,word [rsi+0x70]
      62d17c481100       ; vmovups [r8],zmm0
      c3                 ; ret
    `),
    );
  });

  it('masks unsigned residual bytes', () => {
    const code = piece({ residual: 1, activation: 1 }).hex;
    expect(code).toContain(
      listing(`
      62f17c481021       ; vmovups zmm4,[rcx]
      62f15d58db6e06     ; vpandd zmm5,zmm4,word [rsi+0x18]
      62f17f487aed       ; vcvtudq2ps zmm5,zmm5
      62f15458596e07     ; vmulps zmm5,zmm5,word [rsi+0x1c]
      62f17c4858c5       ; vaddps zmm0,zmm0,zmm5
    `),
    );
    expect(code).toContain(
      listing(`
      62f15d58db6e0f     ; vpandd zmm5,zmm4,word [rsi+0x3c]
      62f17f487aed       ; vcvtudq2ps zmm5,zmm5
      62f15458596e10     ; vmulps zmm5,zmm5,word [rsi+0x40]
      62f1644858dd       ; vaddps zmm3,zmm3,zmm5
    `),
    );
  });
});
