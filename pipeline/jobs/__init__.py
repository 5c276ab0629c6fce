"""Stage, by job: the windowed join of training, scheduler and access facts in one case, judged."""
