"""Stage, by host: which process belonged to which job and user, who signalled whom, who touched which file."""
