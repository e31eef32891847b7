"""The local app over run directories: explore images and verdicts, compare runs, label."""
