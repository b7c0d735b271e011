"""What a completion says."""

import pytest

from dynamicrag_cli.core.engine import Completion


@pytest.mark.parametrize(
    ("text", "said", "only_reasoned"),
    [
        ("[2], [1]", "[2], [1]", False),
        ("", "", False),
        ("<think>\nThe second one.\n</think>\n\n[2]", "[2]", False),
        # Some chat templates open the reasoning in the prompt.
        ("The second one.</think>\n[2]", "[2]", False),
        ("<think>\n\n</think>\n\n", "", False),
        ("\n<think>\nThe second one says that", "", True),
        ("a <think> tag in the middle", "a <think> tag in the middle", False),
    ],
)
def test_what_a_model_reasoned_is_not_what_it_said(text: str, said: str, only_reasoned: bool) -> None:
    reply = Completion(text, "stop")
    assert (reply.said, reply.only_reasoned) == (said, only_reasoned)
