"""What training says that it runs with: a line of a framework's argument dump in, its name and value out.

    `  seed ................................. 1234`      ("seed", "1234")

Only what decides what is learned is of interest: attempts of one configuration share it, and one that differs alone was changed.
"""

import re

# Names of Megatron-LM's arguments; what differs between siblings of itself, such as folders and world size, is none.
LEARNING = frozenset({
    "seed", "lr", "min_lr", "optimizer", "global_batch_size", "micro_batch_size", "weight_decay", "clip_grad", "adam_beta1", "adam_beta2",
    "adam_eps", "lr_decay_style", "lr_warmup_iters", "data_path", "split", "init_method_std", "attention_dropout", "hidden_dropout",
})  # fmt: skip
_LINE = re.compile(r" {1,4}([A-Za-z_][A-Za-z0-9_]{0,100}) \.{2,} (.{1,200})")


def argument_of(text: str) -> tuple[str, str] | None:
    """(name, value) of a line that states one of them; None for another line."""
    found = _LINE.match(text)
    return (found[1], found[2].strip()) if found is not None and found[1] in LEARNING else None
