"""Work outside the server process: computing children, the job queue and what the worker runs."""
