"""Fetching released datasets: download, check, unpack, import (``ffr data fetch``)."""
