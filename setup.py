"""What pyproject.toml cannot say about the distributions: links in the source, and links in the description."""

import re
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
LINKS = ("wavepaint/export", "wavepaint/runtime")


class SdistWithLinks(sdist):
    """A source distribution with the two links, without which its tests could not import the packages.

    Setuptools packs regular files only.
    """

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        for link in LINKS:
            if (ROOT / link).is_symlink():  # some systems check links out as text
                Path(base_dir, link).symlink_to((ROOT / link).readlink())


def make_description() -> str:
    """Return the README for an index, where relative links lead nowhere.

    They lead into the repository if ``project.urls`` names it. Otherwise pictures are left out, and links are plain
    text.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    repository = project.get("urls", {}).get("Repository")

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if re.match(r"https?:", target):
            return match[0]
        if repository is None:
            return "" if mark else text
        target = f"README.md{target}" if target.startswith("#") else target
        return f"{mark}[{text}]({repository}/{'raw' if mark else 'blob'}/HEAD/{target})"

    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"(!)\[([^\]]*)\]\(([^)\s]+)\)", link, text)
    # A picture may be the text of a link.
    return re.sub(r"(?<!!)()\[((?:!\[[^\]]*\]\([^)]*\)|[^\]!])*)\]\(([^)\s]+)\)", link, text)


setup(
    cmdclass={"sdist": SdistWithLinks},
    long_description=make_description(),
    long_description_content_type="text/markdown",
)
