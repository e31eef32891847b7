"""Human labels: their file, what people are asked, which images are picked, formats."""

from t2i_spatial.labels.people import Asked, Truth, questions_for, truth_of
from t2i_spatial.labels.records import LABELS, Label, append_label, label_files, read_labels

__all__ = [
    "LABELS",
    "Asked",
    "Label",
    "Truth",
    "append_label",
    "label_files",
    "questions_for",
    "read_labels",
    "truth_of",
]
