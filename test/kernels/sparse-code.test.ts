import { describe, expect, it } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { isas, pack } from './harness.ts';
import { listing, readPiece } from './sparse-code.ts';

const isa = isas.find((name) => name === 'avx512');

const defaults = {
  groups: 1,
  channels_in: 2,
  channels_out: 2,
  taps: 1,
  transposed: 0,
  residual: 0,
  activation: 0,
  alpha: 0,
  beta: 0,
  column_blocks: 1,
  tiles: 1,
  tile_block: 0,
  prefetch_output: 0,
};

/** Code and weights of piece `index` of a packing. */
function piece(index: number, weights: Float32Array, bias: Float32Array | null, changes: object) {
  const bytes = native().packingBytes(
    pack(isa as string, 'pack.conv.segments.sparse.f32', [weights, bias], { ...defaults, ...changes }),
  );
  return readPiece(bytes, index);
}

describe.runIf(isa)('generated code', () => {
  const weights = Float32Array.from([1, 0, 0.5, 2]);
  const bias = Float32Array.from([7, 8]);

  it('multiplies and adds', () => {
    const got = piece(0, weights, bias, {});
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      62f26d58b84e03     ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi+0xc]
      62f17c48105801     ; vmovups zmm3,[rax+0x40]
      62f26558b84e04     ; vfmadd231ps zmm1,zmm3,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 5)]).toEqual([7, 8, 1, 0.5, 2]);
  });

  it('adds a residual and clips below zero', () => {
    const got = piece(0, weights, bias, { activation: 1, residual: 1 });
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      62f26d58b84e03     ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi+0xc]
      62f17c48105801     ; vmovups zmm3,[rax+0x40]
      62f26558b84e04     ; vfmadd231ps zmm1,zmm3,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      488b4f08           ; mov rcx,[rdi+0x8]
      62f17c485801       ; vaddps zmm0,zmm0,[rcx]
      62f17448584901     ; vaddps zmm1,zmm1,[rcx+0x40]
      62f16d48efd2       ; vpxord zmm2,zmm2,zmm2
      62f16c485fc0       ; vmaxps zmm0,zmm2,zmm0
      62f16c485fc9       ; vmaxps zmm1,zmm2,zmm1
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 5)]).toEqual([7, 8, 1, 0.5, 2]);
  });

  it('clips on both sides', () => {
    const got = piece(0, weights, bias, { activation: 2, alpha: -1, beta: 6 });
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      62f26d58b84e03     ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi+0xc]
      62f17c48105801     ; vmovups zmm3,[rax+0x40]
      62f26558b84e04     ; vfmadd231ps zmm1,zmm3,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62f27d48185605     ; vbroadcastss zmm2,[rsi+0x14]
      62f27d48185e06     ; vbroadcastss zmm3,[rsi+0x18]
      62f16c485fc0       ; vmaxps zmm0,zmm2,zmm0
      62f164485dc0       ; vminps zmm0,zmm3,zmm0
      62f16c485fc9       ; vmaxps zmm1,zmm2,zmm1
      62f164485dc9       ; vminps zmm1,zmm3,zmm1
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 7)]).toEqual([7, 8, 1, 0.5, 2, -1, 6]);
  });

  it('scales what is negative', () => {
    const got = piece(0, weights, bias, { activation: 3, alpha: 0.25 });
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      62f26d58b84e03     ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi+0xc]
      62f17c48105801     ; vmovups zmm3,[rax+0x40]
      62f26558b84e04     ; vfmadd231ps zmm1,zmm3,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62f16d48efd2       ; vpxord zmm2,zmm2,zmm2
      62f27d48186605     ; vbroadcastss zmm4,[rsi+0x14]
      62f16c485dd8       ; vminps zmm3,zmm2,zmm0
      62f16c485fc0       ; vmaxps zmm0,zmm2,zmm0
      62f1644859dc       ; vmulps zmm3,zmm3,zmm4
      62f17c4858c3       ; vaddps zmm0,zmm0,zmm3
      62f16c485dd9       ; vminps zmm3,zmm2,zmm1
      62f16c485fc9       ; vmaxps zmm1,zmm2,zmm1
      62f1644859dc       ; vmulps zmm3,zmm3,zmm4
      62f1744858cb       ; vaddps zmm1,zmm1,zmm3
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 6)]).toEqual([7, 8, 1, 0.5, 2, 0.25]);
  });

  it('changes taps', () => {
    const got = piece(0, Float32Array.from([1, 2, 0, 3]), null, { channels_in: 1, taps: 2 });
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      488b4720           ; mov rax,[rdi+0x20]
      62f17c481018       ; vmovups zmm3,[rax]
      62f26558b84603     ; vfmadd231ps zmm0,zmm3,DWORD BCST [rsi+0xc]
      62f26558b84e04     ; vfmadd231ps zmm1,zmm3,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 5)]).toEqual([0, 0, 1, 2, 3]);
  });

  const blocks = { column_blocks: 2, activation: 1, residual: 1, prefetch_output: 1 };

  it('begins with the bias, adds the residual, prefetches', () => {
    const got = piece(0, weights, bias, blocks);
    expect(got.hex).toBe(
      listing(`
      488b4f10           ; mov rcx,[rdi+0x10]
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      62f27d48184e01     ; vbroadcastss zmm1,[rsi+0x4]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481010       ; vmovups zmm2,[rax]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      62f26d58b84e03     ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi+0xc]
      0f0d09             ; prefetchw [rcx]
      0f0d4940           ; prefetchw [rcx+0x40]
      0f1812             ; prefetcht1 [rdx]
      0f185240           ; prefetcht1 [rdx+0x40]
      0f189280000000     ; prefetcht1 [rdx+0x80]
      4c8b07             ; mov r8,[rdi]
      488b4f08           ; mov rcx,[rdi+0x8]
      62f17c485801       ; vaddps zmm0,zmm0,[rcx]
      62f17448584901     ; vaddps zmm1,zmm1,[rcx+0x40]
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 4)]).toEqual([7, 8, 1, 0.5]);
  });

  it('continues from the output', () => {
    const got = piece(1, weights, bias, blocks);
    expect(got.hex).toBe(
      listing(`
      4c8b07             ; mov r8,[rdi]
      62d17c481000       ; vmovups zmm0,[r8]
      62d17c48104801     ; vmovups zmm1,[r8+0x40]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c48105001     ; vmovups zmm2,[rax+0x40]
      62f26d58b80e       ; vfmadd231ps zmm1,zmm2,DWORD BCST [rsi]
      0f1812             ; prefetcht1 [rdx]
      0f185240           ; prefetcht1 [rdx+0x40]
      0f189280000000     ; prefetcht1 [rdx+0x80]
      62f16d48efd2       ; vpxord zmm2,zmm2,zmm2
      62f16c485fc0       ; vmaxps zmm0,zmm2,zmm0
      62f16c485fc9       ; vmaxps zmm1,zmm2,zmm1
      62d17c481100       ; vmovups [r8],zmm0
      62d17c48114801     ; vmovups [r8+0x40],zmm1
      c3                 ; ret
    `),
    );
    expect([...got.weights.subarray(0, 1)]).toEqual([2]);
  });

  it('moves the input address', () => {
    const far = new Float32Array(400);
    [far[0], far[127], far[128], far[399]] = [1, 2, 3, 4];
    const got = piece(0, far, null, { channels_in: 400, channels_out: 1 });
    expect(got.hex).toBe(
      listing(`
      62f27d481806       ; vbroadcastss zmm0,[rsi]
      488b4718           ; mov rax,[rdi+0x18]
      62f17c481008       ; vmovups zmm1,[rax]
      62f27558b84601     ; vfmadd231ps zmm0,zmm1,DWORD BCST [rsi+0x4]
      62f17c4810507f     ; vmovups zmm2,[rax+0x1fc0]
      62f26d58b84602     ; vfmadd231ps zmm0,zmm2,DWORD BCST [rsi+0x8]
      4881c000400000     ; add rax,0x4000
      62f17c48105880     ; vmovups zmm3,[rax-0x2000]
      62f26558b84603     ; vfmadd231ps zmm0,zmm3,DWORD BCST [rsi+0xc]
      4881c0c0430000     ; add rax,0x43c0
      62f17c48106080     ; vmovups zmm4,[rax-0x2000]
      62f25d58b84604     ; vfmadd231ps zmm0,zmm4,DWORD BCST [rsi+0x10]
      4c8b07             ; mov r8,[rdi]
      62d17c481100       ; vmovups [r8],zmm0
      c3                 ; ret
    `),
    );
  });

  it('keeps 29 rows in registers', () => {
    const rows = new Float32Array(58);
    rows[57] = 6;
    const got = piece(1, rows, null, { channels_in: 1, channels_out: 58 });
    const parts = [
      '62627d4818661c', // vbroadcastss zmm28,[rsi+0x70]
      '62621550b8661d', // vfmadd231ps zmm28,zmm29,DWORD BCST [rsi+0x74]
      '4981c040070000', // add r8,0x740
      '62417c4811601c', // vmovups [r8+0x700],zmm28
    ];
    for (const part of parts) expect(got.hex).toContain(part);
  });

  it('moves the weight address', () => {
    const got = piece(0, new Float32Array(300).fill(1), null, { channels_in: 300, channels_out: 1 });
    // add rsi,0x400; vfmadd231ps zmm0,zmm4,[rsi-0x200]{1to16}
    expect(got.hex).toContain('4881c60004000062f25d58b84680');
  });
});
