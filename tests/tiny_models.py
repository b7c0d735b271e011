"""Tiny random models, built on the fly and never downloaded: every kind of model that an adapter loads.

Each builder writes a folder that `from_pretrained` reads, and returns its path. Seeds are fixed, so two builds are equal.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

TOY = Path(__file__).parents[1] / "examples/toy"
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARY = 2000


def _texts() -> list[str]:
    passages = [json.loads(line) for line in (TOY / "passages.jsonl").read_text(encoding="utf-8").splitlines()]
    numbers = [", ".join(f"[{i}]" for i in range(1, 21)), "None", "Yes", "No", "true", "false", "unknown"]
    return [f"{passage['title']}\n{passage['text']}" for passage in passages] + numbers * 200


def byte_level_tokenizer(special: tuple[str, ...] = CONTROL_TOKENS, texts: Iterable[str] | None = None):
    """A byte-level BPE over some texts; if none are given, the toy corpus, the digits and the brackets."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts() if texts is None else texts, trainer)
    return tokenizer


def word_piece_tokenizer():
    """A word-piece tokenizer as BERT has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        _texts(), trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def build_tiny_lm(folder: Path, texts: Iterable[str] | None = None, *, spread: float = 0.2) -> Path:
    """A chat model: Llama with two layers, ChatML, no default system turn.

    Args:
        folder: Where it goes.
        texts: What its tokenizer is made for (default: the toy corpus).
        spread: Standard deviation of its weights: wide, so that the next tokens differ clearly in probability; a model that is
            to learn something starts narrower.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(texts=texts),
        eos_token="<|im_end|>",
        bos_token="<|im_start|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    tokenizer.chat_template = CHATML
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in CONTROL_TOKENS}
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=ids["<|im_start|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        initializer_range=spread,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _bert(head: str, **changes: object):
    import torch
    import transformers

    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
        pad_token_id=0,
        **changes,
    )
    return getattr(transformers, head)(config)


def _bert_tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=word_piece_tokenizer(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def build_tiny_encoder(folder: Path) -> Path:
    """A sentence-transformers folder: BERT with two layers and mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    with tempfile.TemporaryDirectory() as bert:
        _bert("BertModel").save_pretrained(bert)
        _bert_tokenizer().save_pretrained(bert)
        words = Transformer(bert, max_seq_length=128)
        pooling = Pooling(words.get_embedding_dimension(), pooling_mode="mean")
        SentenceTransformer(modules=[words, pooling], device="cpu").save(str(folder), create_model_card=False)
    return folder


def build_tiny_cross_encoder(folder: Path, *, outputs: int = 1) -> Path:
    """A cross-encoder: BERT with two layers and a classification head."""
    _bert("BertForSequenceClassification", num_labels=outputs).save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def build_tiny_t5(folder: Path) -> Path:
    """A T5 with two layers a side, as monoT5 is one."""
    import torch
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    inner = byte_level_tokenizer(("<pad>", "</s>"))
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
        initializer_factor=1.0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
