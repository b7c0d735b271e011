"""Tiny tokenizers with the control tokens and chat templates of the common model families, written from what is public of them.

No vocabulary is downloaded. What matters here is real: which tokens are added, how they are matched (before or after
normalisation, with the white space around them), and where a template puts them.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
_SYSTEM_APART = "{% set system = messages[0]['content'] %}{% set user = messages[1]['content'] %}"


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        name: Its name.
        tokens: Added tokens.
        template: Chat template; a system turn comes first.
        kind: `bytes` (byte-level BPE), `pieces` (SentencePiece with byte fallback) or `folded` (NFKC and lower case first).
        special: Whether the tokens are special and matched in the raw text; else they are matched after normalisation.
        rstrip: Whether a token swallows the white space behind it.
        markers: Text that serves as control text without being a token.
    """

    name: str
    tokens: tuple[str, ...]
    template: str
    kind: str = "bytes"
    special: bool = True
    rstrip: bool = False
    markers: tuple[str, ...] = ()

    def tokenizer(self) -> Any:
        """The tokenizer with its template."""
        inner = {"bytes": _bytes, "pieces": _pieces, "folded": _folded}[self.kind]()
        added = [AddedToken(t, special=self.special, normalized=not self.special, rstrip=self.rstrip) for t in self.tokens]
        (inner.add_special_tokens if self.special else inner.add_tokens)(added)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False)
        tokenizer.chat_template = self.template
        return tokenizer


def _bytes() -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(vocab={letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pieces() -> Tokenizer:
    names = [f"<0x{byte:02X}>" for byte in range(256)] + [chr(code) for code in range(33, 127)] + ["▁", "é", "ß", "大"]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def _folded() -> Tokenizer:
    tokenizer = _bytes()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.StripAccents(), normalizers.Lowercase()])
    return tokenizer


_SENTENCE_PIECE = ("<unk>", "<s>", "</s>")
_FILES = (
    "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>",
    "<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>",
)  # fmt: skip
_HTML = tuple(f"<{slash}{tag}>" for tag in ("table", "tr", "td", "blockquote", "b", "s", "code") for slash in ("", "/"))
_INST = _SYSTEM_APART + "{{ '<s>[INST] ' + system + '\n\n' + user + ' [/INST]' }}"

FAMILIES = (
    Family("chatml", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), CHATML),
    Family("smollm2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *_FILES), CHATML),
    Family(
        "qwen",
        (
            "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|vision_start|>",
            "<|vision_end|>", "<|image_pad|>", "<|fim_prefix|>", "<tool_call>", "</tool_call>", "<think>", "</think>",
        ),
        CHATML,
    ),
    Family(
        "llama-2",
        _SENTENCE_PIECE,
        _SYSTEM_APART + "{{ '<s>[INST] <<SYS>>\n' + system + '\n<</SYS>>\n\n' + user.strip() + ' [/INST]' }}",
        kind="pieces",
        markers=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    ),
    Family(
        "llama-3",
        (
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|finetune_right_pad_id|>",
            "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
        ),
        "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
        "+ m['content'].strip() + '<|eot_id|>' }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
    ),
    Family("mistral-1", _SENTENCE_PIECE, _INST, kind="pieces", markers=("[INST]", "[/INST]")),
    Family(
        "mistral-3",
        (
            *_SENTENCE_PIECE, "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[control_8]", "[IMG]", "[PREFIX]", "[SUFFIX]",
        ),
        _SYSTEM_APART + "{{ '<s>[SYSTEM_PROMPT]' + system + '[/SYSTEM_PROMPT][INST]' + user + '[/INST]' }}",
    ),
    Family(
        "gemma",
        (
            "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]", "<unused0>", "<start_of_turn>", "<end_of_turn>",
            "<start_of_image>", "\n\n", "▁▁", *_HTML,
        ),
        _SYSTEM_APART + "{{ '<bos><start_of_turn>user\n' + system + '\n\n' + user.strip() + '<end_of_turn>\n<start_of_turn>model\n' }}",
        kind="pieces",
    ),
    Family(
        "phi-3",
        (*_SENTENCE_PIECE, "<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>"),
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}",
        kind="pieces",
        rstrip=True,
    ),
    Family(
        "zephyr",
        _SENTENCE_PIECE,
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '</s>\n' }}{% endfor %}{{ '<|assistant|>\n' }}",
        kind="pieces",
        markers=("<|user|>", "<|system|>", "<|assistant|>"),
    ),
    Family(
        "deepseek",
        (
            "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<think>",
            "</think>",
        ),
        _SYSTEM_APART + "{{ '<｜begin▁of▁sentence｜>' + system + '<｜User｜>' + user + '<｜Assistant｜>' }}",
    ),
    # Not one family but a habit of some tokenizers: tokens are matched in text that has been normalised.
    Family("folded", ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]"), CHATML, kind="folded", special=False),
)  # fmt: skip
# Their tokens beyond the common ones are known only to who has the tokenizer.
NEED_THEIR_TOKENIZER = {"smollm2", "gemma"}
