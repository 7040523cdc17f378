"""Workers: processes that serve together, under one supervisor.

The supervisor holds the ports, starts the workers, and passes signals on; each worker is a server of its own, with an
event loop and lanes, and listens on the same ports by SO_REUSEPORT.
"""

VARIABLE = "_NEXTCHAR_WORKER"
"""Variable that makes a process a worker: the descriptor of its link to the supervisor."""
