import { expect, test } from 'vitest';
import { native } from '../../lib/runtime/native.ts';

test('hardware names an ISA and at least one core', () => {
  const hardware = native().hardware();
  expect(['portable', 'avx2', 'avx512', 'avx512vnni', 'avx512bf16', 'amx']).toContain(hardware.isa);
  expect(hardware.cores).toBeGreaterThanOrEqual(1);
});
