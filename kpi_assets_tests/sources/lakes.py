"""Places for objects of a test: a container on Azurite, which is Microsoft's imitation of Azure's Blob Storage."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from kpi_assets.waiting import wait_until

ACCOUNT = "devstoreaccount1"
# The key of Azurite's only account, which its documentation shows to everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CHECKOUT = Path(__file__).resolve().parents[2]
