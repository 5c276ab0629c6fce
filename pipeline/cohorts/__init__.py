"""Stage, by cohort: attempts that should have gone alike, compared over weeks."""
