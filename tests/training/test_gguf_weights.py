"""A GGUF file made in code is unpacked into a folder that transformers and Winnow load; runs where gguf is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pruning.training import gguf_weights
from tests.support.generative import CHATML, byte_tokenizer

gguf = pytest.importorskip("gguf", reason="gguf is not installed, so no GGUF file is unpacked here: pip install gguf==0.19.0")

HIDDEN, FEED, HEADS, HEAD = 32, 64, 4, 8


def quantised(path: Path) -> list[str]:
    """Write a llama of one layer, its matrices in Q8_0, and return its tokens."""
    random = np.random.default_rng(0)
    tokenizer = byte_tokenizer(None, merges=(("t", "h"),))
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 5 + [1] * (len(tokens) - 5))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(CHATML)
    shapes = {"token_embd": (len(tokens), HIDDEN), "blk.0.ffn_gate": (FEED, HIDDEN), "blk.0.ffn_up": (FEED, HIDDEN)}
    shapes |= {"blk.0.ffn_down": (HIDDEN, FEED), **{f"blk.0.attn_{name}": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}}
    for name, shape in shapes.items():
        values = random.normal(0, 0.2, shape).astype(np.float32)
        packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", random.normal(1, 0.1, HIDDEN).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tokens


def test_a_folder_of_safetensors_says_the_same_as_the_file(tmp_path: Path) -> None:
    tokens = quantised(tmp_path / "tiny.gguf")
    gguf_weights.unpack(tmp_path / "tiny.gguf", tmp_path / "folder")
    read = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file="tiny.gguf", dtype=torch.float32).eval()
    plain, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "folder", use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"] and plain.get_output_embeddings().weight is plain.get_input_embeddings().weight, "tied"
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.equal(plain.eval()(input_ids=ids).logits, read(input_ids=ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    wanted = [tokens.index(token) for token in ("<|im_start|>", "th", "e", "<|im_end|>")]
    assert tokenizer("<|im_start|>the<|im_end|>", add_special_tokens=False)["input_ids"] == wanted and tokenizer.chat_template == CHATML
    assert "gguf" not in (tmp_path / "folder" / "config.json").read_text()
