"""The tariff files that come with the product."""

from pathlib import Path

_HOST = Path(__file__).resolve().parents[1]


def shipped() -> list[Path]:
    """Return the tariff files that come with the product, and the demonstration's own."""
    folder = _HOST / "tariffs"
    if not folder.is_dir():
        folder = _HOST.parent / "tariffs"
    return [*sorted(folder.glob("*.json")), *_HOST.glob("demo/tariff.json")]
