"""Identities: what accounts do over days, and whose hands they are in; P13, P16 and P17 are judged here."""
