"""Threads, signals, systemd, status and metrics."""
