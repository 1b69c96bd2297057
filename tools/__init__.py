"""What builds and describes the product; nothing here is deployed."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = (ROOT / "VERSION").read_text().strip()
