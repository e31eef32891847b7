"""One self-contained HTML file for a run, and contact sheets as pictures."""

from t2i_spatial.report.contact_sheet import contact_sheet
from t2i_spatial.report.page import render_report

__all__ = ["contact_sheet", "render_report"]
