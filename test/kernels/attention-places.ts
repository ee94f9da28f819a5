/** Where operands of attention kernels lie. */

/** Strides along b, h, s, d of an operand of these sizes in this order, its offset, and its elements. */
export function place(sizes: readonly number[], layout: string): { at: number[]; count: number } {
  let count = 1;
  const at = [0, 0, 0, 0, 0];
  for (const letter of [...layout].reverse()) {
    const axis = 'bhsd'.indexOf(letter);
    at[axis] = count;
    count *= sizes[axis];
  }
  return { at, count };
}
