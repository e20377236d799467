#!/usr/bin/env bash
# GDCM 3.2.6: a 12-bit film compressed as JPEG Extended says 16 bits in its JPEG header, and other decoders get no pixels.
#
# The transfer syntax 1.2.840.10008.1.2.4.51 holds lossy JPEG of 8 or 12 bits (DICOM PS3.5 8.2.1; ITU-T T.81 table B.2
# allows no other precision for a lossy process). GDCM writes such a film with the precision 16 in the frame header and
# without the level shift of 2048. GDCM reads its own file back to the grey level. imagecodecs, which reads proper
# 12-bit JPEG, answers with an empty array and no error, so a film that one archive tool wrote has no pixels for the next.
#
# Seen with python-gdcm 3.2.6, pydicom 3.0.2, imagecodecs 2026.3.6, numpy 2.2.6, Python 3.11, Linux x86-64:
#   bits stored 12, precision in the JPEG header 16
#   GDCM reads its own file: largest difference 1 of 4096 levels
#   imagecodecs: an array of shape (0, 0), no error
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check python-gdcm==3.2.6 pydicom==3.0.2 imagecodecs==2026.3.6 numpy==2.2.6
cd "$folder"
env/bin/python - <<'PYTHON'
import gdcm
import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

down, across = np.mgrid[0:256, 0:256]
film = (2048 + 1500 * np.sin(down / 40) * np.cos(across / 60)).astype(np.uint16)
header = pydicom.Dataset()
header.file_meta = pydicom.dataset.FileMetaDataset()
header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = pydicom.uid.generate_uid()
header.Rows = header.Columns = 256
header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 0
header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
header.PixelData = film.tobytes()
header.save_as("plain.dcm", enforce_file_format=True)

reader = gdcm.ImageReader()
reader.SetFileName("plain.dcm")
assert reader.Read()
change = gdcm.ImageChangeTransferSyntax()
change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
change.SetInput(reader.GetImage())
assert change.Change()
writer = gdcm.ImageWriter()
writer.SetFileName("compressed.dcm")
writer.SetFile(reader.GetFile())
writer.SetImage(change.GetOutput())
assert writer.Write()

written = pydicom.dcmread("compressed.dcm")
(frame,) = generate_frames(written.PixelData, number_of_frames=1)
place = frame.index(b"\xff\xc1")
precision = frame[place + 4]
print(f"bits stored {written.BitsStored}, precision in the JPEG header {precision}")

again = gdcm.ImageReader()
again.SetFileName("compressed.dcm")
assert again.Read()
data = again.GetImage().GetBuffer().encode("utf-8", errors="surrogateescape")
gap = int(np.abs(np.frombuffer(data, "<u2").reshape(film.shape).astype(int) - film).max())
print(f"GDCM reads its own file: largest difference {gap} of 4096 levels")
other = imagecodecs.jpeg_decode(frame)
print(f"imagecodecs: an array of shape {other.shape}, no error")
assert written.BitsStored == 12 and precision == 16 and gap < 4 and other.size == 0
PYTHON
