/** Numbers of the elementwise operations, as native/kernels/elementwise.h has them. */

const numbered = <T extends string>(first: number, names: readonly T[]): Readonly<Record<T, number>> =>
  Object.fromEntries(names.map((name, i) => [name, first + i])) as Record<T, number>;

/** Of `unary.*` kernels; the output has the input's type. */
export const unaryCodes = numbered(0, [
  'Abs',
  'Neg',
  'Exp',
  'Log',
  'Sqrt',
  'Reciprocal',
  'Sigmoid',
  'Tanh',
  'Relu',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Celu',
  'HardSigmoid',
  'HardSwish',
  'Softplus',
  'Softsign',
  'Gelu',
  'GeluTanh',
  'Erf',
  'Sin',
  'Cos',
  'Tan',
  'Asin',
  'Acos',
  'Atan',
  'Sinh',
  'Cosh',
  'Asinh',
  'Acosh',
  'Atanh',
  'Floor',
  'Ceil',
  'Round',
  'Sign',
  'Clip',
  'ThresholdedRelu',
  'Mish',
  'Swish',
  'Shrink',
  'Affine',
  'Not',
]);

/** Of `unary.*` kernels with bool output. */
export const testCodes = numbered(64, ['IsNaN', 'IsInf']);

/** Of `binary.*` kernels; the output has the inputs' type. */
export const binaryCodes = numbered(0, [
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'Mod',
  'Fmod',
  'Max',
  'Min',
  'PRelu',
  'And',
  'Or',
  'Xor',
  'ShiftLeft',
  'ShiftRight',
]);

/** Of `binary.*` kernels with bool output. */
export const compareCodes = numbered(64, ['Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual']);
