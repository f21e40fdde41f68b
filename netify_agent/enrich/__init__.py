"""Vendors, names and groups of devices, application names, categories and descriptions of risks.

Independent of the accounting: reads files of the gateway (and, only if configured, reverse DNS) and answers
from memory. Imports neither Redis nor HTTP code, and no other part of the agent.
"""

from netify_agent.enrich.directory import Directory

__all__ = ["Directory"]
