"""Settings of the kernels of .venv, where env/bootstrap.sh puts this file (etc/ipython)."""

c = get_config()  # noqa: F821 - IPython gives it
# A kernel that plain papermill starts would print a warning at each start: it listens on a port of this machine alone.
c.IPKernelApp.log_level = 40  # errors
