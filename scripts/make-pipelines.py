"""Writes models of random weights as Transformers.js lays them out, for `npm run bench:pipelines`.

  python make-pipelines.py FOLDER [NAME ...]

A folder a model: config.json, tokenizer.json, tokenizer_config.json or preprocessor_config.json, generation_config.json,
and onnx/ with float32, float16, dynamically quantized (q8) and 4-bit (q4) files. It takes torch, transformers, onnx and
onnxruntime (tried with 2.15, 5.23, 1.23 and 1.31). Tokens are words of one to three letters.
"""

import itertools
import json
import logging
import pathlib
import shutil
import sys
import tempfile
import warnings

import onnx
import torch
import transformers
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["".join(w) for n in (1, 2, 3) for w in itertools.product(LETTERS, repeat=n)]


class Wrapped(torch.nn.Module):
    """A module with tensors alone in and out, by position."""

    def __init__(self, model, run):
        super().__init__()
        self.model = model
        self.run = run

    def forward(self, *tensors):
        return self.run(*tensors)


def write_tokenizer(folder, vocab):
    words = SPECIAL + WORDS[: vocab - len(SPECIAL)]
    added = [
        dict(id=i, content=w, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for i, w in enumerate(SPECIAL)
    ]
    model = dict(type="WordLevel", unk_token="<unk>", vocab={w: i for i, w in enumerate(words)})
    ends = dict(id="</s>", type_id=0)
    processor = dict(
        type="TemplateProcessing",
        single=[{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": ends}],
        pair=[
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": ends},
            {"Sequence": {"id": "B", "type_id": 0}},
            {"SpecialToken": ends},
        ],
        special_tokens={"</s>": dict(id="</s>", ids=[3], tokens=["</s>"])},
    )
    parts = dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None)
    parts.update(pre_tokenizer={"type": "WhitespaceSplit"}, post_processor=processor, decoder=None, model=model)
    (folder / "tokenizer.json").write_text(json.dumps(parts))
    names = dict(pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    settings = dict(tokenizer_class="PreTrainedTokenizerFast", model_max_length=512, **names)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def export(model, run, inputs, outputs, axes, path):
    """Traces `run` over the tensors of `inputs`; axes name the sizes that change."""
    names = list(inputs)
    with torch.no_grad():
        torch.onnx.export(
            Wrapped(model, run), tuple(inputs.values()), str(path), input_names=names, output_names=outputs,
            dynamic_axes=axes, opset_version=17, dynamo=False, do_constant_folding=True,
        )  # fmt: skip


def variants(path):
    """The files beside `path` that the dtypes fp16, q8 and q4 name."""
    stem = str(path)[: -len(".onnx")]
    half = convert_float_to_float16(onnx.load(path), keep_io_types=True, disable_shape_infer=True)
    onnx.save(half, stem + "_fp16.onnx")
    # As the hub's scripts do: weights of graphs with convolutions are unsigned.
    plain = onnx.load(path)
    has_conv = any(node.op_type == "Conv" for node in plain.graph.node)
    weight = QuantType.QUInt8 if has_conv else QuantType.QInt8
    extra = dict(EnableSubgraph=True, MatMulConstBOnly=True)
    quantize_dynamic(path, stem + "_quantized.onnx", weight_type=weight, extra_options=extra)
    quantizer = MatMulNBitsQuantizer(onnx.load(path), block_size=32, is_symmetric=True)
    quantizer.process()
    onnx.save(quantizer.model.model, stem + "_q4.onnx")


def finish(folder, model, files, generation=None):
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    for file in files:
        variants(folder / "onnx" / file)


def encoder(folder, config, kind, ids=("input_ids", "attention_mask")):
    """A text encoder with a head, or without."""
    config._attn_implementation = "eager"
    model = kind(config).eval()
    write_tokenizer(folder, config.vocab_size)
    inputs = {name: torch.ones(2, 11, dtype=torch.int64) for name in ids}
    output = "last_hidden_state" if kind is transformers.AutoModel.from_config or "Model" == kind.__name__[-5:] else "logits"
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ids} | {output: {0: "batch_size"}}
    if output == "last_hidden_state" or "Token" in kind.__name__:
        axes[output][1] = "sequence_length"
    export(model, lambda *x: model(**dict(zip(ids, x)))[0], inputs, [output], axes, folder / "onnx" / "model.onnx")
    finish(folder, model, ["model.onnx"])


def image_classifier(folder, config, kind):
    config._attn_implementation = "eager"
    model = kind(config).eval()
    pixels = {"pixel_values": torch.randn(1, 3, 224, 224)}
    axes = {"pixel_values": {0: "batch_size"}, "logits": {0: "batch_size"}}
    export(model, lambda x: model(x)[0], pixels, ["logits"], axes, folder / "onnx" / "model.onnx")
    image = dict(
        do_normalize=True, do_rescale=True, do_resize=True, rescale_factor=1 / 255, resample=2,
        image_mean=[0.5] * 3, image_std=[0.5] * 3, size=dict(height=224, width=224),
        image_processor_type="ViTImageProcessor", feature_extractor_type="ViTFeatureExtractor",
    )  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    finish(folder, model, ["model.onnx"])


def past(prefix, count, parts=("",)):
    return [f"{prefix}.{i}{part}.{kv}" for i in range(count) for part in parts for kv in ("key", "value")]


def decoder(folder, config, kind):
    """A decoder with its caches as inputs and outputs."""
    config._attn_implementation = "eager"
    model = kind(config).eval()
    write_tokenizer(folder, config.vocab_size)
    layers, heads = config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = config.hidden_size // config.num_attention_heads
    caches = past("past_key_values", layers)

    def run(ids, mask, positions, *tensors):
        cache = DynamicCache([(tensors[2 * i], tensors[2 * i + 1]) for i in range(layers)])
        made = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        return (made.logits, *(t for layer in made.past_key_values.layers for t in (layer.keys, layer.values)))

    inputs = dict(input_ids=torch.ones(1, 3, dtype=torch.int64), attention_mask=torch.ones(1, 8, dtype=torch.int64))
    inputs["position_ids"] = torch.arange(5, 8)[None]
    inputs |= {name: torch.randn(1, heads, 5, size) for name in caches}
    outputs = ["logits", *past("present", layers)]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "position_ids", "logits")}
    axes["attention_mask"] = {0: "batch_size", 1: "total_sequence_length"}
    axes |= {name: {0: "batch_size", 2: "past_sequence_length"} for name in caches}
    axes |= {name: {0: "batch_size", 2: "total_sequence_length"} for name in outputs[1:]}
    export(model, run, inputs, outputs, axes, folder / "onnx" / "model.onnx")
    finish(folder, model, ["model.onnx"], dict(eos_token_id=3, pad_token_id=0, bos_token_id=2))


def merge(first, later, path):
    """One decoder of two: `use_cache_branch` chooses. Weights that both have are kept once."""
    weights, branches = {}, []
    for tag, model in (("first", first), ("later", later)):
        graph = onnx.compose.add_prefix_graph(model.graph, f"{tag}/", rename_inputs=False, rename_outputs=True)
        names = {}
        for tensor in graph.initializer:
            key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
            names[tensor.name] = weights.setdefault(key, tensor).name
        for node in graph.node:
            for i, name in enumerate(node.input):
                node.input[i] = names.get(name, name)
        branches.append(onnx.helper.make_graph(graph.node, tag, [], graph.output))
    boolean = onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    outputs = first.graph.output
    node = onnx.helper.make_node(
        "If", ["use_cache_branch"], [o.name for o in outputs], else_branch=branches[0], then_branch=branches[1]
    )
    graph = onnx.helper.make_graph(
        [node], "merged", [*later.graph.input, boolean], outputs, initializer=list(weights.values())
    )
    model = onnx.helper.make_model(graph, opset_imports=first.opset_import, ir_version=8)
    onnx.save(model, path)


def encoder_decoder(folder, config, kind):
    config._attn_implementation = "eager"
    model = kind(config).eval()
    write_tokenizer(folder, config.vocab_size)
    layers = getattr(config, "num_decoder_layers", None) or config.decoder_layers
    heads = getattr(config, "num_heads", None) or config.decoder_attention_heads
    size = config.d_kv if hasattr(config, "d_kv") else config.d_model // heads
    ints = lambda *dims: torch.ones(*dims, dtype=torch.int64)
    text = {0: "batch_size", 1: "encoder_sequence_length"}
    ids = dict(input_ids=ints(1, 7), attention_mask=ints(1, 7))
    axes = {name: text for name in (*ids, "last_hidden_state")}
    encode = lambda x, mask: model.get_encoder()(input_ids=x, attention_mask=mask)[0]
    export(model, encode, ids, ["last_hidden_state"], axes, folder / "onnx" / "encoder_model.onnx")

    caches = past("past_key_values", layers, (".decoder", ".encoder"))
    outputs = ["logits", *past("present", layers, (".decoder", ".encoder"))]

    def decode(mask, ids, states, *tensors):
        own, cross = DynamicCache(), DynamicCache()
        for i in range(len(tensors) // 4):
            own.update(*tensors[4 * i : 4 * i + 2], i)
            cross.update(*tensors[4 * i + 2 : 4 * i + 4], i)
        cache = EncoderDecoderCache(own, cross)
        made = model(
            encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=ids, past_key_values=cache, use_cache=True
        )
        pairs = zip(made.past_key_values.self_attention_cache.layers, made.past_key_values.cross_attention_cache.layers)
        return (made.logits, *(t for a, b in pairs for t in (a.keys, a.values, b.keys, b.values)))

    base = dict(
        encoder_attention_mask=ints(1, 7), input_ids=ints(1, 1), encoder_hidden_states=torch.randn(1, 7, config.d_model)
    )
    axes = {name: text for name in ("encoder_attention_mask", "encoder_hidden_states")}
    axes |= {name: {0: "batch_size", 1: "decoder_sequence_length"} for name in ("input_ids", "logits")}
    for names, length in ((caches, "past_decoder_sequence_length"), (outputs[1:], "total_decoder_sequence_length")):
        axes |= {
            n: {0: "batch_size", 2: "encoder_sequence_length_out" if ".encoder." in n else length} for n in names
        }
    with tempfile.TemporaryDirectory() as scratch:
        one, two = pathlib.Path(scratch, "first.onnx"), pathlib.Path(scratch, "later.onnx")
        export(model, decode, base | dict(input_ids=ints(1, 3)), outputs, axes, one)
        length = lambda name: 7 if ".encoder." in name else 5
        export(model, decode, base | {n: torch.randn(1, heads, length(n), size) for n in caches}, outputs, axes, two)
        models = [onnx.load(one), onnx.load(two)]
        merge(*models, folder / "onnx" / "decoder_model_merged.onnx")
    start = getattr(config, "decoder_start_token_id", None)
    generation = dict(eos_token_id=3, pad_token_id=0, decoder_start_token_id=start if start is not None else 0)
    finish(folder, model, ["encoder_model.onnx", "decoder_model_merged.onnx"], generation)


BERT = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, vocab_size=8000)
DISTIL = dict(dim=768, n_layers=6, n_heads=12, hidden_dim=3072, vocab_size=8000)
VIT = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, num_labels=100)
NLI = dict(num_labels=3, id2label={0: "contradiction", 1: "neutral", 2: "entailment"})
NLI["label2id"] = {label: i for i, label in NLI["id2label"].items()}
IDS = ("input_ids", "attention_mask", "token_type_ids")
T = transformers

MODELS = {
    "feature-extraction": lambda to: encoder(to, T.BertConfig(**BERT), T.BertModel, IDS),
    "text-classification": lambda to: encoder(to, T.DistilBertConfig(**DISTIL), T.DistilBertForSequenceClassification),
    "token-classification": lambda to: encoder(to, T.BertConfig(**BERT, num_labels=9), T.BertForTokenClassification, IDS),
    "zero-shot-classification": lambda to: encoder(
        to, T.DistilBertConfig(**DISTIL, **NLI), T.DistilBertForSequenceClassification
    ),
    "image-classification": lambda to: image_classifier(to, T.ViTConfig(**VIT), T.ViTForImageClassification),
    "image-classification-resnet": lambda to: image_classifier(
        to, T.ResNetConfig(num_labels=100), T.ResNetForImageClassification
    ),
    "text-generation": lambda to: decoder(
        to, T.GPT2Config(n_embd=512, n_layer=6, n_head=8, vocab_size=8000, n_positions=512), T.GPT2LMHeadModel
    ),
    "text-generation-llama": lambda to: decoder(
        to,
        T.LlamaConfig(
            hidden_size=512, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=4, intermediate_size=1408,
            vocab_size=8000, max_position_embeddings=512,
        ),
        T.LlamaForCausalLM,
    ),  # fmt: skip
    "text2text-generation": lambda to: encoder_decoder(
        to,
        T.BartConfig(
            d_model=512, encoder_layers=4, decoder_layers=4, encoder_attention_heads=8, decoder_attention_heads=8,
            encoder_ffn_dim=2048, decoder_ffn_dim=2048, vocab_size=8000, pad_token_id=0, bos_token_id=2, eos_token_id=3,
            decoder_start_token_id=2, max_position_embeddings=512, forced_eos_token_id=None,
            tie_word_embeddings=False,
        ),
        T.BartForConditionalGeneration,
    ),  # fmt: skip
}


def main(folder, *names):
    for name in names or MODELS:
        torch.manual_seed(7)
        to = pathlib.Path(folder, name)
        shutil.rmtree(to, ignore_errors=True)
        (to / "onnx").mkdir(parents=True)
        MODELS[name](to)
        print(name, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
