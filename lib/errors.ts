/**
 * Every error class and code of Filigree, in one table.
 *
 * A message says what was expected where, and what came. `details` holds the same facts for programs.
 */

/** Facts about an error, for programs: node, input, byte offset, expected, got. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** Base class of everything Filigree throws on purpose; its subclasses tell what went wrong, and so does `code`. */
export class FiligreeError extends Error {
  /** Stable, documented code such as `ERR_INPUT`. */
  readonly code: string;
  /** The facts of the message: the input's name, what was expected, what came. */
  readonly details: ErrorDetails;

  constructor(code: string, message: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }
}

/** The model's bytes are not a valid ONNX model, or its file cannot be read (`cause` is the file system's error). */
export class ModelFormatError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_MODEL_FORMAT', message, details, options);
  }
}

/** The model is valid but uses something that Filigree does not run (operator, version, type). */
export class UnsupportedError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_UNSUPPORTED', message, details, options);
  }
}

/** A feed is missing, unknown, or has the wrong type, shape or length. Nothing has run. */
export class InputError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_INPUT', message, details, options);
  }
}

/** An option is unknown or out of range, or names an output that the model has not. */
export class OptionError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_OPTION', message, details, options);
  }
}

/** The model met values it cannot compute with while running (an index out of range, an impossible shape). */
export class RunError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_RUN', message, details, options);
  }
}

/** A batcher has as many requests waiting as it takes: try again later (a server answers 503). */
export class QueueFullError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_QUEUE_FULL', message, details, options);
  }
}

/** A tensor or the working memory of a run would be larger than this machine's memory. */
export class MemoryError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_MEMORY', message, details, options);
  }
}

/** The run was stopped by its `AbortSignal`. */
export class AbortError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_ABORTED', message, details, options);
  }
}

/** The native addon cannot be loaded on this machine; the text says what was tried and how to build it. */
export class NativeLoadError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_NATIVE_LOAD', message, details, options);
  }
}

/** A defect of Filigree itself: an invariant did not hold. */
export class InternalError extends FiligreeError {
  constructor(message: string, details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ERR_INTERNAL', message, details, options);
  }
}
