/** Optionals. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type HostValue, tensor } from '../ir/tensor.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';

/** The value that an optional holds, or the value itself; null where there is none. */
function held(ctx: ReferenceContext): HostValue | null {
  if (!ctx.has(0)) return null;
  const value = ctx.value(0);
  return value.kind === 'optional' ? value.value : value;
}

export const optionalOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Optional',
    since: [15, 28],
    inputs: [0, 1],
    outputs: [1, 1],
    attributes: { type: 'type' },
    infer: (ctx) => {
      const element: ValueType | undefined = ctx.has(0) ? ctx.type(0) : ctx.typeAttribute('type');
      if (!ctx.has(0) && !element) throw ctx.error('without an input, the attribute "type" is required');
      return [element && { kind: 'optional', element }];
    },
    reference: (ctx) => [{ kind: 'optional', value: held(ctx) }],
  }),
  defineOp({
    name: 'OptionalHasElement',
    since: [15, 18, 28],
    inputs: [0, 1],
    outputs: [1, 1],
    infer: () => [tensorType('bool', [])],
    reference: (ctx) => [tensor('bool', [], Uint8Array.of(held(ctx) === null ? 0 : 1))],
  }),
  defineOp({
    name: 'OptionalGetElement',
    since: [15, 18, 28],
    inputs: [1, 1],
    outputs: [1, 1],
    infer: (ctx) => {
      const type = ctx.type(0);
      return [type?.kind === 'optional' ? type.element : type];
    },
    reference: (ctx) => {
      const value = held(ctx);
      if (value === null) throw ctx.error('the optional holds no element');
      return [value];
    },
  }),
];
