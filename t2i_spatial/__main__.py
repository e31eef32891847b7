"""`python -m t2i_spatial`: the same as `t2i-spatial`."""

from t2i_spatial.cli.main import main

main()
