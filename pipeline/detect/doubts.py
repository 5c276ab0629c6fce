"""Which harmless explanations can clear somebody, and which can only raise a doubt: no record that there is could prove them.

The others acquit: a record confirms them, and there is no finding.  A doubt is excluded, or *not checked*, which keeps a finding that
requires it below the gate.  What each can say is shown by the tests of its detectors (tests/unit/detect/conftest.py).
"""

DOUBTS = frozenset({
    # of files and programs: what was loaded may have been written since, or be what it always was
    "own_file", "own_place", "saved_again", "known_bytes", "loaded_since", "altered_before", "ordinary_library", "failed_save",
    "felt_before", "saved_since", "watchdog_abort", "ordinary_exit", "own_code",
    # of orders to a cluster
    "node_drain", "over_before", "trial_run", "which_signal", "mistyped_number",
    # of what many attempts show together
    "own_files", "other_writers", "machines", "changed_for_all", "by_chance", "hardware_ends", "one_owner",
    # of machines, audit and people
    "thermal_or_hardware", "lemon_node", "put_back", "restarted", "cut_off", "overflow", "still_heard", "debugging_together",
    "usual_network", "support", "nothing_done",
})  # fmt: skip
# (detector, explanation) that is always excluded by what the detector looks at in the first place, and stands in the list to say so.
SETTLED = frozenset({
    # What was written with leave is not an exposure, and nothing of it is compared.
    ("p09_injected_delay", "written_with_leave"), ("p10_convergence_sabotage", "written_with_leave"),
    ("p15_slow_campaign", "written_with_leave"),
    # Its count is stopped by a test with a stated error.
    ("p15_slow_campaign", "by_chance"),
})  # fmt: skip
