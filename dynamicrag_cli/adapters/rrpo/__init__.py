"""RRPO: a small reranker trained by the reader's feedback. Everything here that needs torch is imported only when it is used."""
