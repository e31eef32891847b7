"""A page that labels without a server: one HTML file with the pictures in it."""

from t2i_spatial.view.offline.page import MOST_IMAGES, write_label_page

__all__ = ["MOST_IMAGES", "write_label_page"]
