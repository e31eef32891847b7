"""Protocols of peers that ask a judge, one file each, and what they share (`brought`)."""
