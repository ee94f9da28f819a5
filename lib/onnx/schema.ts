/** The messages of the ONNX format that Filigree reads. Fields it ignores are not listed; unknown fields are skipped. */

import type { ByteList, LongList } from './wire.ts';

export interface StringEntryProto {
  key: string;
  value: string;
}

export interface TensorProto {
  dims: number[];
  dataType: number;
  name: string;
  floatData?: ByteList;
  doubleData?: ByteList;
  int32Data?: LongList;
  int64Data?: LongList;
  uint64Data?: LongList;
  stringData: Uint8Array[];
  /** View into the file. */
  rawData?: Uint8Array;
  externalData: StringEntryProto[];
  dataLocation: number;
  segment?: object;
}

export interface SparseTensorProto {
  values?: TensorProto;
  indices?: TensorProto;
  dims: number[];
}

export interface DimensionProto {
  dimValue?: number;
  dimParam?: string;
}

export interface ShapeProto {
  dim: DimensionProto[];
}

export interface TensorTypeProto {
  elemType: number;
  shape?: ShapeProto;
}

export interface TypeProto {
  tensorType?: TensorTypeProto;
  sequenceType?: { elemType?: TypeProto };
  mapType?: { keyType: number; valueType?: TypeProto };
  optionalType?: { elemType?: TypeProto };
  sparseTensorType?: TensorTypeProto;
  opaqueType?: object;
}

export interface ValueInfoProto {
  name: string;
  type?: TypeProto;
}

export interface AttributeProto {
  name: string;
  refAttrName: string;
  type: number;
  f?: number;
  i?: number;
  s?: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  tp?: TypeProto;
  sparseTensor?: SparseTensorProto;
  floats: number[];
  ints: number[];
  strings: Uint8Array[];
  tensors: TensorProto[];
  graphs: GraphProto[];
  sparseTensors: SparseTensorProto[];
  typeProtos: TypeProto[];
}

export interface NodeProto {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  domain: string;
  overload: string;
  attribute: AttributeProto[];
}

export interface GraphProto {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  sparseInitializer: SparseTensorProto[];
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
}

export interface OperatorSetProto {
  domain: string;
  version: number;
}

export interface FunctionProto {
  name: string;
  domain: string;
  overload: string;
  input: string[];
  output: string[];
  attribute: string[];
  attributeProto: AttributeProto[];
  node: NodeProto[];
  opsetImport: OperatorSetProto[];
  valueInfo: ValueInfoProto[];
}

export interface ModelProto {
  irVersion: number;
  opsetImport: OperatorSetProto[];
  producerName: string;
  producerVersion: string;
  domain: string;
  modelVersion: number;
  docString: string;
  graph?: GraphProto;
  metadataProps: StringEntryProto[];
  functions: FunctionProto[];
}

export interface SequenceProto {
  name: string;
  elemType: number;
  tensorValues: TensorProto[];
  sparseTensorValues: SparseTensorProto[];
  sequenceValues: SequenceProto[];
  mapValues: MapProto[];
  optionalValues: OptionalProto[];
}

export interface MapProto {
  name: string;
  keyType: number;
  keys: number[];
  stringKeys: Uint8Array[];
  values?: SequenceProto;
}

export interface OptionalProto {
  name: string;
  elemType: number;
  tensorValue?: TensorProto;
  sparseTensorValue?: SparseTensorProto;
  sequenceValue?: SequenceProto;
  mapValue?: MapProto;
  optionalValue?: OptionalProto;
}

/** How a field is read. A list of scalars may be packed or not. */
export type FieldKind =
  | 'int64'
  | 'int32'
  | 'float'
  | 'string'
  | 'bytes'
  | 'int64s'
  | 'floats'
  | 'strings'
  | 'byteses'
  /** {@link LongList} */
  | 'longs'
  /** {@link ByteList} of 4 or 8 bytes a number */
  | 'fixed32s'
  | 'fixed64s'
  /** one message */
  | MessageName
  /** many messages */
  | `${MessageName}[]`;

/** Field number to name and kind. */
export type MessageSchema = Readonly<Record<number, readonly [name: string, kind: FieldKind]>>;

const tables = {
  Entry: { 1: ['key', 'string'], 2: ['value', 'string'] },
  Tensor: {
    1: ['dims', 'int64s'],
    2: ['dataType', 'int32'],
    3: ['segment', 'Empty'],
    4: ['floatData', 'fixed32s'],
    5: ['int32Data', 'longs'],
    6: ['stringData', 'byteses'],
    7: ['int64Data', 'longs'],
    8: ['name', 'string'],
    9: ['rawData', 'bytes'],
    10: ['doubleData', 'fixed64s'],
    11: ['uint64Data', 'longs'],
    13: ['externalData', 'Entry[]'],
    14: ['dataLocation', 'int32'],
  },
  SparseTensor: { 1: ['values', 'Tensor'], 2: ['indices', 'Tensor'], 3: ['dims', 'int64s'] },
  Dimension: { 1: ['dimValue', 'int64'], 2: ['dimParam', 'string'] },
  Shape: { 1: ['dim', 'Dimension[]'] },
  TensorType: { 1: ['elemType', 'int32'], 2: ['shape', 'Shape'] },
  ElementType: { 1: ['elemType', 'Type'] },
  MapType: { 1: ['keyType', 'int32'], 2: ['valueType', 'Type'] },
  Empty: {},
  Type: {
    1: ['tensorType', 'TensorType'],
    4: ['sequenceType', 'ElementType'],
    5: ['mapType', 'MapType'],
    7: ['opaqueType', 'Empty'],
    8: ['sparseTensorType', 'TensorType'],
    9: ['optionalType', 'ElementType'],
  },
  ValueInfo: { 1: ['name', 'string'], 2: ['type', 'Type'] },
  Attribute: {
    1: ['name', 'string'],
    2: ['f', 'float'],
    3: ['i', 'int64'],
    4: ['s', 'bytes'],
    5: ['t', 'Tensor'],
    6: ['g', 'Graph'],
    7: ['floats', 'floats'],
    8: ['ints', 'int64s'],
    9: ['strings', 'byteses'],
    10: ['tensors', 'Tensor[]'],
    11: ['graphs', 'Graph[]'],
    14: ['tp', 'Type'],
    15: ['typeProtos', 'Type[]'],
    20: ['type', 'int32'],
    21: ['refAttrName', 'string'],
    22: ['sparseTensor', 'SparseTensor'],
    23: ['sparseTensors', 'SparseTensor[]'],
  },
  Node: {
    1: ['input', 'strings'],
    2: ['output', 'strings'],
    3: ['name', 'string'],
    4: ['opType', 'string'],
    5: ['attribute', 'Attribute[]'],
    7: ['domain', 'string'],
    8: ['overload', 'string'],
  },
  Graph: {
    1: ['node', 'Node[]'],
    2: ['name', 'string'],
    5: ['initializer', 'Tensor[]'],
    11: ['input', 'ValueInfo[]'],
    12: ['output', 'ValueInfo[]'],
    13: ['valueInfo', 'ValueInfo[]'],
    15: ['sparseInitializer', 'SparseTensor[]'],
  },
  OperatorSet: { 1: ['domain', 'string'], 2: ['version', 'int64'] },
  Function: {
    1: ['name', 'string'],
    4: ['input', 'strings'],
    5: ['output', 'strings'],
    6: ['attribute', 'strings'],
    7: ['node', 'Node[]'],
    9: ['opsetImport', 'OperatorSet[]'],
    10: ['domain', 'string'],
    11: ['attributeProto', 'Attribute[]'],
    12: ['valueInfo', 'ValueInfo[]'],
    13: ['overload', 'string'],
  },
  Model: {
    1: ['irVersion', 'int64'],
    2: ['producerName', 'string'],
    3: ['producerVersion', 'string'],
    4: ['domain', 'string'],
    5: ['modelVersion', 'int64'],
    6: ['docString', 'string'],
    7: ['graph', 'Graph'],
    8: ['opsetImport', 'OperatorSet[]'],
    14: ['metadataProps', 'Entry[]'],
    25: ['functions', 'Function[]'],
  },
  Sequence: {
    1: ['name', 'string'],
    2: ['elemType', 'int32'],
    3: ['tensorValues', 'Tensor[]'],
    4: ['sparseTensorValues', 'SparseTensor[]'],
    5: ['sequenceValues', 'Sequence[]'],
    6: ['mapValues', 'Map[]'],
    7: ['optionalValues', 'Optional[]'],
  },
  Map: {
    1: ['name', 'string'],
    2: ['keyType', 'int32'],
    3: ['keys', 'int64s'],
    4: ['stringKeys', 'byteses'],
    5: ['values', 'Sequence'],
  },
  Optional: {
    1: ['name', 'string'],
    2: ['elemType', 'int32'],
    3: ['tensorValue', 'Tensor'],
    4: ['sparseTensorValue', 'SparseTensor'],
    5: ['sequenceValue', 'Sequence'],
    6: ['mapValue', 'Map'],
    7: ['optionalValue', 'Optional'],
  },
} as const;

export type MessageName = keyof typeof tables;

/** Schemas of all messages by name. */
export const messages: Readonly<Record<MessageName, MessageSchema>> = tables;
