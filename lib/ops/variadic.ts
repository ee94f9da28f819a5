/** Elementwise operators of any number of inputs. */

import type { OpDefinition } from './op.ts';

export const variadicOps: readonly OpDefinition[] = [];
