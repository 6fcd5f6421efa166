"""Videos that browsers play, where an encoder of H.264 is at hand."""

import importlib.util
import shutil
import subprocess
import tempfile

import cv2
import numpy as np

from keras_hourglass.errors import UserError

# What browsers play, and what OpenCV's own build always writes.
H264, MPEG4 = "H.264", "MPEG-4 Part 2"


def find_ffmpeg():
    """The program ffmpeg: that of the package imageio-ffmpeg, else that on the path, or `None`.

    Example:

    >>> find_ffmpeg() is None or "ffmpeg" in find_ffmpeg()
    True
    """
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        try:
            return imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:  # a build of the package without the program
            pass
    return shutil.which("ffmpeg")


def open_encoder(path, size, fps):
    """Open a video to write to.

    Args:
        path: the `.mp4` file.
        size: `(width, height)` of the frames.
        fps: frames per second.

    Returns:
        An object with `write(frame)` for `(height, width, 3)` uint8 RGB arrays, `close()`, and
        `codec`, `H264` or `MPEG4`.

    Raises:
        UserError: if no video of that size can be written here.
    """
    program = find_ffmpeg()
    if program is not None:
        encoder = FfmpegEncoder(program, path, size, fps)
        if encoder.works():
            return encoder
    return OpenCvEncoder(path, size, fps)


class FfmpegEncoder:
    """Frames piped into ffmpeg, which writes H.264 with libx264.

    Args:
        program: path of ffmpeg.
        path, size, fps: as for `open_encoder`.
    """

    codec = H264

    def __init__(self, program, path, size, fps):
        self._program, self._path, self._size = program, str(path), size
        # Its last words, for the error.
        self._said = tempfile.TemporaryFile()
        command = [
            program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{size[0]}x{size[1]}", "-r", f"{fps:.6f}", "-i", "-", "-an",
            # Players want even sizes and colours of half the resolution.
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-pix_fmt", "yuv420p",
            "-movflags", "+faststart", self._path,
        ]  # fmt: skip
        # In a session of its own: Ctrl-C is for us, who finish the file.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said,
            start_new_session=True,
        )  # fmt: skip

    def works(self):
        """Whether this build of ffmpeg has the encoder; tried on one black frame."""
        frame = np.zeros((16, 16, 3), np.uint8).tobytes()
        trial = [
            self._program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", "16x16", "-i", "-", "-c:v", "libx264", "-f", "null", "-",
        ]  # fmt: skip
        good = subprocess.run(trial, input=frame, capture_output=True).returncode == 0
        if not good:
            self._process.kill()
            self._process.communicate()
            self._said.close()
        return good

    def write(self, frame):
        """Append a frame."""
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self.close()

    def close(self):
        """Finish the file."""
        if self._process.stdin.closed:
            return
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        status = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        if status:
            raise UserError(
                f"ffmpeg cannot write a video of {self._size[0]}x{self._size[1]} pixels here. "
                f"Received: {self._path} ({said[-1] if said else status}). Save images instead."
            )


class OpenCvEncoder:
    """OpenCV's own writer, whose usual build has MPEG-4 Part 2 alone.

    Args:
        path, size, fps: as for `open_encoder`.

    Raises:
        UserError: if it cannot.
    """

    codec = MPEG4

    def __init__(self, path, size, fps):
        self._video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        if not self._video.isOpened():
            raise UserError(
                f"OpenCV cannot write a video of {size[0]}x{size[1]} pixels here. "
                "Received: --save video. Save images instead."
            )

    def write(self, frame):
        """Append a frame."""
        self._video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self):
        """Finish the file."""
        self._video.release()
