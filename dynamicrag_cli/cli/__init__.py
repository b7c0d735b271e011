"""How `drag` is called: parse, config, stage, summary. The only layer that reads, writes, prints and knows adapters."""
