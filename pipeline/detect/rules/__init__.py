"""One file per pattern of the catalogue; the file's name is the detector's id."""
