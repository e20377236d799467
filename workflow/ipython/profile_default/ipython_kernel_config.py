"""Settings of the kernels that the workflow starts (run.py points IPYTHONDIR here)."""

c = get_config()  # noqa: F821  (IPython defines it)

# From ipykernel 7.3 on, every kernel warns that it talks over TCP; on one machine that is noise.
c.IPKernelApp.log_level = 40
# Notebooks that run side by side would wait for each other's history file.
c.HistoryManager.enabled = False
