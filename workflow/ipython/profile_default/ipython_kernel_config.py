"""Settings of the kernels that the workflow starts (run.py points IPYTHONDIR here)."""

c = get_config()  # noqa: F821  (IPython defines it)

# From ipykernel 7.3 on, every kernel warns that it talks over TCP; on one machine that is noise.
c.IPKernelApp.log_level = 40
# What TensorFlow writes to the process's own stderr as it starts belongs in the log and not below a cell.
c.IPKernelApp.capture_fd_output = False
# Notebooks that run side by side would wait for each other's history file.
c.HistoryManager.enabled = False
