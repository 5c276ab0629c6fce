"""Stage, by path: who saved, wrote and loaded an artefact, and which bytes."""
