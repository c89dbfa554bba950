"""Reads slides with other libraries: judge.py openslide|tifffile|pydicom FILE... prints one JSON object per line."""

import json
import sys
import zipfile


def by_openslide(path):
    import openslide

    with openslide.OpenSlide(path) as slide:
        mpp = [slide.properties.get(openslide.PROPERTY_NAME_MPP_X), slide.properties.get(openslide.PROPERTY_NAME_MPP_Y)]
        slide.read_region((0, 0), 0, (16, 16))
        return {
            "vendor": slide.properties["openslide.vendor"],
            "size": list(slide.dimensions),
            "resolution": [float(value) for value in mpp] if all(mpp) else None,
            "levels": slide.level_count,
            "associated": sorted(slide.associated_images),
        }


def by_tifffile(path):
    import xml.etree.ElementTree as xml

    import tifffile

    with tifffile.TiffFile(path, is_ndpi=path.endswith(".ndpi")) as tiff:
        pages = [[page.imagewidth, page.imagelength] for page in tiff.pages]
        largest = max(tiff.series, key=lambda series: series.size)
        resolution = None
        if tiff.ome_metadata:
            pixels = xml.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
            resolution = [[pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit")] for axis in "XY"]
        elif 282 in tiff.pages[0].tags:
            resolution = [tiff.pages[0].tags[tag].value for tag in (282, 283)]
        for level in largest.levels:
            if level.keyframe.compression == 1:
                level.asarray()
        return {
            "size": [largest.keyframe.imagewidth, largest.keyframe.imagelength],
            "resolution": resolution,
            "levels": len(largest.levels),
            "pages": pages,
        }


def by_pydicom(path):
    import pydicom

    def read(file):
        data = pydicom.dcmread(file)
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        return {
            "size": [data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows],
            "resolution": [1000 * float(value) for value in reversed(measures.PixelSpacing)],
            "flavor": data.ImageType[2],
            "attributes": [str(element.tag) for element in data if not element.is_empty],
        }

    if not zipfile.is_zipfile(path):
        return read(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = [name for name in archive.namelist() if name.endswith(".dcm")]
        return max((read(archive.open(name)) for name in names), key=lambda found: found["size"])


if __name__ == "__main__":
    read = {"openslide": by_openslide, "tifffile": by_tifffile, "pydicom": by_pydicom}[sys.argv[1]]
    for path in sys.argv[2:]:
        try:
            print(json.dumps(read(path)))
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
