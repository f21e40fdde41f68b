"""Vendors, host names, application names, categories and descriptions of risks.

Independent of the accounting: reads files of the gateway (and, only if configured, reverse DNS) and answers
from memory. Imports neither Redis nor HTTP code, and no other part of the agent.
"""

from netify_agent.enrich.applications import Categories, display_name
from netify_agent.enrich.directory import Directory
from netify_agent.enrich.leases import NameFiles, Names
from netify_agent.enrich.vendors import VendorRegistry

__all__ = ["Categories", "Directory", "NameFiles", "Names", "VendorRegistry", "display_name"]
