/** Filigree runs ONNX neural networks on CPUs. This is the public API: `docs/api.md` is made from it. */

export * from './errors.ts';
export type { DType, NumericStorage, Storage } from './ir/dtype.ts';
export type { MapType, OptionalType, SequenceType, TensorType, ValueType } from './ir/graph.ts';
export type { Port } from './ir/model.ts';
export type { Dim, Shape } from './ir/shape.ts';
export type { HostMap, HostOptional, HostSequence, HostTensor, HostValue } from './ir/tensor.ts';
// The interface of onnxruntime-node too, so that this package can be installed in the place of that one.
export * from './ort/index.ts';
export { Batcher, type BatcherOptions } from './runtime/batcher.ts';
export type { NonTensor, RunValue, TensorLike } from './runtime/feeds.ts';
export type { Precision, RunOptions, Scheduler, SessionOptions } from './runtime/options.ts';
export { type RunValues, Session } from './runtime/session.ts';
export { StatefulSession } from './runtime/stateful.ts';
export type { StreamOptions } from './runtime/stream.ts';
