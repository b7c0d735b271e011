from dynamicrag_cli.core.expansion import for_encoder, for_words


def test_as_in_the_paper():
    assert for_words("who?", "She did.") == "who? who? who? who? who? She did."
    assert for_encoder("who?", "She did.", "[SEP]") == "who? [SEP] She did."
