"""What the network does not say: vendors, host names, application names and categories.

Stands beside the accounting: it reads files of the gateway (and, only when asked to, reverse DNS) and
answers from memory. It knows neither Redis nor HTTP, and no other part of the agent.
"""

from netify_agent.enrich.applications import Categories, display_name
from netify_agent.enrich.directory import Directory
from netify_agent.enrich.leases import NameFiles, Names
from netify_agent.enrich.vendors import VendorRegistry

__all__ = ["Categories", "Directory", "NameFiles", "Names", "VendorRegistry", "display_name"]
