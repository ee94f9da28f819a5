/** Which nodes are activations that an epilogue can take over. */

import type { Attribute, Node, Value } from '../ir/graph.ts';
import { isActivation } from '../ops/epilogue.ts';

function scalar(value: Value | null | undefined, fallback: number): number | undefined {
  if (!value) return fallback;
  const content = value.constant;
  if (content?.kind !== 'tensor' || content.dtype !== 'float32' || content.data.length !== 1) return undefined;
  return content.data[0] as number;
}

function floatOf(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'float' ? attribute.value : fallback;
}

/** Name, alpha and beta of the activation that `node` applies to `x`; undefined where it is none. */
function describeActivation(node: Node, x: Value): readonly [string, number, number] | undefined {
  if (node.inputs[0] !== x || node.domain !== '') return undefined;
  switch (node.op) {
    case 'Relu':
    case 'Sigmoid':
    case 'Tanh':
    case 'HardSwish':
      return [node.op, 0, 0];
    case 'LeakyRelu':
      return [node.op, floatOf(node, 'alpha', 0.01), 0];
    case 'HardSigmoid':
      return [node.op, floatOf(node, 'alpha', 0.2), floatOf(node, 'beta', 0.5)];
    case 'Swish':
      return [node.op, floatOf(node, 'alpha', 1), 0];
    case 'Gelu': {
      const mode = node.attributes.get('approximate');
      return [mode?.type === 'string' && mode.value === 'tanh' ? 'GeluTanh' : 'Gelu', 0, 0];
    }
    case 'Clip': {
      const low = scalar(node.inputs[1], floatOf(node, 'min', Number.NEGATIVE_INFINITY));
      const high = scalar(node.inputs[2], floatOf(node, 'max', Number.POSITIVE_INFINITY));
      return low === undefined || high === undefined ? undefined : ['Clip', low, high];
    }
    default:
      return undefined;
  }
}

/** Epilogue attributes for an activation node that reads `x`. */
export function fusableActivation(node: Node, x: Value): Record<string, Attribute> | undefined {
  const found = describeActivation(node, x);
  if (!found || !isActivation(found[0])) return undefined;
  return {
    activation: { type: 'string', value: found[0] },
    activation_alpha: { type: 'float', value: found[1] },
    activation_beta: { type: 'float', value: found[2] },
  };
}
