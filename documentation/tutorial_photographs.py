"""Makes the download that the tutorial begins with, from a folder of class folders such as WHU-RS19.

    python documentation/tutorial_photographs.py CLASS-FOLDERS FOLDER

writes aerial.zip and new/ into FOLDER. Of each class 14 photographs are for the test, 2 are new, and from 16 (the first
class by name) down to 2 (the last) are labelled; all others lie in one folder, unlabelled. Deterministic.
"""

import sys
import zipfile
from pathlib import Path

TEST, NEW, MOST, FEWEST = 14, 2, 16, 2


def arrange(classes: Path, folder: Path) -> None:
    """Write archive and folder."""
    names = sorted(path.name for path in classes.iterdir() if path.is_dir())
    (folder / "new").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "aerial.zip", "w") as archive:
        for rank, name in enumerate(names):
            files = sorted((classes / name).iterdir())
            labelled = round(MOST * (FEWEST / MOST) ** (rank / max(1, len(names) - 1)))
            for place, file in enumerate(files):
                if place >= len(files) - NEW:
                    (folder / "new" / file.name).write_bytes(file.read_bytes())
                    continue
                inside = (
                    f"test/{name}"
                    if place < TEST
                    else f"train/{name}"
                    if place < TEST + labelled
                    else "train/unlabelled"
                )
                archive.write(file, f"aerial/{inside}/{file.name}")


if __name__ == "__main__":
    arrange(*map(Path, sys.argv[1:]))
