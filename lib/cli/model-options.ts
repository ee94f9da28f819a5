/** What commands that run a model on inputs share: options, loading, inputs. */

import { OptionError } from '../errors.ts';
import type { HostValue } from '../ir/tensor.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import type { Precision } from '../runtime/options.ts';
import type { Arguments, OptionHelp, Output } from './command.ts';
import { gatherInputs, parseShapes } from './feeds.ts';

/** The option of commands that load a model. */
export const precisionOption: Readonly<Record<'precision', OptionHelp>> = {
  precision: { type: 'string', value: 'P', help: 'float32 (default); bf16: dense products may round to bfloat16' },
};

/** The precision asked for. */
export function precisionOf(args: Arguments): Precision {
  const text = args.text('precision') ?? 'float32';
  if (text === 'float32' || text === 'bf16') return text;
  throw new OptionError(`--precision: expected float32 or bf16, got "${text}"`, { option: 'precision' });
}

export const modelOptions: Readonly<Record<string, OptionHelp>> = {
  batch: { type: 'string', value: 'N', help: 'size of the first dimension where it is symbolic (1)' },
  shape: { type: 'string', value: 'NAME=1x3x224x224,...', help: 'shapes of inputs, or sizes of symbolic dimensions' },
  input: {
    type: 'string',
    multiple: true,
    value: '[NAME=]FILE',
    help: 'an input from a .npy, .pb or raw file, or a folder of input_N.pb',
  },
  threads: { type: 'string', value: 'T', help: 'most threads of a run (the usable cores)' },
  cache: { type: 'string', value: 'DIR', help: 'keep plans and packed weights here, for the next start' },
  ...precisionOption,
  'impose-sparsity': {
    type: 'string',
    value: 'SHARE',
    help: 'prune the weights to this share of zeros first: tells speed, spoils outputs',
  },
};

export interface OpenedModel {
  readonly compiled: CompiledModel;
  readonly feeds: (HostValue | undefined)[];
  readonly batch: number;
  /** Share of zeros imposed on the weights; 0 where they are the model's own. */
  readonly imposed: number;
  readonly precision: Precision;
  /** Milliseconds of loading and rewriting. */
  readonly loadMs: number;
}

/** Loads the model of the first argument for runs of at most `threads` threads, and gathers its inputs. */
export function openModel(args: Arguments, threads: number): OpenedModel {
  const imposed = args.number('impose-sparsity', 0);
  if (imposed >= 1) {
    throw new OptionError(`--impose-sparsity: expected a share of at least 0 and below 1, got "${imposed}"`, {
      option: 'impose-sparsity',
    });
  }
  const precision = precisionOf(args);
  const start = performance.now();
  const cache = args.text('cache');
  const compiled = CompiledModel.openSync(args.positionals[0], {
    ...{ threads, imposeSparsity: imposed, precision },
    ...(cache === undefined ? {} : { cache }),
  });
  const loadMs = performance.now() - start;
  const batch = args.count('batch', 1);
  const wishes = parseShapes(args.text('shape'), batch, compiled.model);
  const feeds = gatherInputs(compiled.model, args.list('input'), wishes);
  if (batch > 1 && !feeds.some((feed) => feed?.kind === 'tensor' && feed.dims[0] === batch)) {
    compiled.dispose();
    throw new OptionError(`--batch: no input of the model takes ${batch} as its first dimension`, { option: 'batch' });
  }
  return { compiled, feeds, batch, imposed, precision, loadMs };
}

/** Says that imposed sparsity makes outputs worthless. */
export function warnImposed(imposed: number, out: Output): void {
  if (imposed === 0) return;
  const share = `${(imposed * 100).toFixed(0)} %`;
  out.line(`note: ${share} zeros imposed on the weights: the time is a what-if, the outputs are no longer the model's`);
}
