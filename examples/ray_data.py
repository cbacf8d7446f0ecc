"""Fill a folder or a bucket of photos on a Ray cluster. The mask of a photo is the PNG file of the same name. With
WavePaint and ray[data] on every node, and URIs or absolute paths that every node sees::

    python ray_data.py s3://bucket/photos s3://bucket/masks s3://bucket/filled
"""

import io
import sys
from pathlib import PurePosixPath

import ray
from pyarrow.fs import FileSystem

from wavepaint import Inpainter
from wavepaint.errors import WavePaintError


class Fill:
    def __init__(self, masks: str, out: str) -> None:
        self.inpainter = Inpainter(threads=1)
        (self.masks, self.mask_folder), (self.out, self.folder) = map(FileSystem.from_uri, (masks, out))
        self.out.create_dir(self.folder)

    def __call__(self, row: dict) -> dict:
        name = PurePosixPath(row["path"]).stem + ".png"
        try:
            with self.masks.open_input_file(f"{self.mask_folder}/{name}") as mask:
                self.inpainter.fill(row["bytes"], mask.readall()).save(png := io.BytesIO(), "PNG")
            with self.out.open_output_stream(f"{self.folder}/{name}") as stream:
                stream.write(png.getvalue())
            return {"error": ""}
        except (WavePaintError, OSError) as error:
            return {"error": f"{row['path']}: {error}"}


if __name__ == "__main__":
    files = ray.data.read_binary_files(sys.argv[1], include_paths=True)
    rows = files.map(Fill, fn_constructor_args=sys.argv[2:4], compute=ray.data.ActorPoolStrategy(max_size=8))
    sys.exit("\n".join(row["error"] for row in rows.iter_rows() if row["error"]) or 0)
