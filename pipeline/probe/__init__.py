"""The probe that runs inside training jobs: `trainwatch_probe.py` alone, and `measure.py`, which says what it costs.

Nothing here imports the rest of trainwatch or a third-party package, since it runs in other people's interpreters, from Python 3.8 on.
"""
