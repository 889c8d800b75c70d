"""A cheap look at a video file: its packets, without decoding any. It says how the frames can be reached.

A player shows the frames in the order of their presentation times, without those that an edit list leaves out. Where
each packet is one frame and says its own time, the k-th frame is known without decoding; elsewhere (AVI, transport and
programme streams, raw streams) only decoding all of it tells.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.data.video import bitstreams, containers

# What may be opened: films in one file. Playlists and the like would make ffmpeg open other files, or the network.
_FORMATS = (
    "3gp,amv,apng,asf,av1,avi,avs2,cavsvideo,dhav,dirac,dnxhd,dv,flic,flv,gif,gxf,h261,h263,h264,hevc,ivf,ivr,live_flv,"
    "m4v,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,nuv,obu,ogg,rm,roq,smjpeg,swf,vc1,vivo,vvc,webm,"
    "webp_anim,wtv,yuv4mpegpipe,aac,aiff,flac,mp3,wav"  # sound too, to say that it has no pictures
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
# In these containers a packet of these codecs is one frame and has a time of its own.
_TIMED = ("mov", "matroska")
# As a rule here too: held against the times of decoding, which must rise without a gap in what was recorded.
_STREAMED = ("h264", "hevc", "mpeg2video")
# Here the times of frames can be believed at least. In AVI they are times of decoding.
_BELIEVED = (*_TIMED, "mpegts", "flv")
_ONE_A_PACKET = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mjpeg", "prores", "dnxhd", "ffv1")
# What decord decodes as PyAV does: its ffmpeg is of 2018.
_OF_DECORD = ("h264", "hevc", "vp9", "mpeg4")
_FORMATS_OF_DECORD = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")
# Two recordings that were joined make a step in time: of so many seconds, within so many packets.
_JOIN_S, _SOON = 0.5, 8
_SHORTER = 0.02  # by how much of its length a file may end before the time its header says


@dataclasses.dataclass(frozen=True)
class Look:
    """What the packets of the video stream that is shown say.

    Attributes:
        path: the file; `index` is the number of the stream in it.
        packets: how many packets have content.
        shown: the presentation times (int64, ascending, in units of `time_base` seconds) of the frames that a player
            shows; None where only decoding tells.
        keys: presentation times (int64, ascending) of the packets from which decoding can start.
        unit: seconds of one step of these times.
        timed: whether the times that packets carry are those of presentation.
        fps: frames per second on average, 0 where the file does not say.
        aspect: width of a pixel as shown over its height.
        early: by how many units before a key frame to look for it, where the container has no index.
        for_decord: whether the numbers of decord hold for this file.
    """

    path: str
    index: int
    packets: int
    shown: np.ndarray | None
    keys: np.ndarray
    unit: float
    timed: bool
    fps: float
    aspect: float
    early: int
    for_decord: bool


def look(path: str) -> Look:
    """Look at the packets of a file; what was seen of the last files is kept until they change.

    Raises InputError, naming the file, where it is missing, empty, no regular file, no video, truncated or damaged.
    """
    seen = check_file(path)
    return _look(path, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns))


def check_file(path: str) -> os.stat_result:
    """The file's size and times. Raises InputError, naming it, where it is missing, empty or no regular file."""
    try:
        seen = os.stat(path)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {reason}; give the path of a video file") from None
    except ValueError:
        raise InputError(f"{path!r}: no path of a file (it has a NUL character); correct it") from None
    if stat.S_ISDIR(seen.st_mode):
        raise InputError(f"{path}: this is a folder; give the path of a video file")
    if not stat.S_ISREG(seen.st_mode):
        raise InputError(f"{path}: this is a pipe or a device; save the video in a file first")
    if seen.st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or download it again")
    try:
        with open(path, "rb"):
            pass
    except PermissionError:
        raise InputError(f"{path}: no permission to read it; change its mode or owner") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a video file") from None
    return seen


def open_container(path: str) -> Any:
    """The file, opened by PyAV. Raises InputError where it is no video."""
    import av

    try:
        # With "file:" a colon in the name does not end a protocol.
        return av.open(f"file:{path}", container_options=OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError):
        raise InputError(
            f"{path}: not a video that can be read from this file alone, or cut off before its index "
            f"({os.path.getsize(path):,} bytes); copy or download it again, or encode it as H.264 in MP4"
        ) from None


@contextlib.contextmanager
def listening(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """What ffmpeg says meanwhile, at this level or a graver one: level, who says it, and the text."""
    import av

    before = av.logging.get_level()
    av.logging.set_level(level)
    av.logging.set_skip_repeated(False)
    logging.getLogger("libav").propagate = False  # to standard error, where it reads as a fault
    try:
        with av.logging.Capture(local=False) as logged:
            yield logged
    finally:
        av.logging.set_level(before)


def demux(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of the streams in the order of the file, but for empty ones: frames that repeat the one before."""
    try:
        for packet in container.demux(*streams):
            if packet.size:
                yield packet
    except IndexError:  # PyAV, at the end of a file in which another stream came up on the way
        return


def shown_stream(path: str, container: Any) -> Any:
    """The video stream that a player shows. A picture of the cover is none."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not container.streams.video:
        raise InputError(f"{path}: has no video stream; give a file with pictures in it")
    if not streams:
        raise InputError(f"{path}: has a cover picture and no video stream; give a file with moving pictures")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: its codec cannot be decoded here; encode it as H.264 in MP4")
    return stream


@functools.lru_cache(maxsize=8)
def _look(path: str, _seen: tuple[int, ...]) -> Look:
    import av

    containers.check_whole(path)
    with listening(av.logging.ERROR) as logged, open_container(path) as container:
        stream = shown_stream(path, container)
        kind = container.format.name.split(",")[0]
        codec = stream.codec_context.name
        rows, ends, clean = _demux(path, container, stream, _family(codec))
        if complaints := [text.strip() for _, name, text in logged if name == container.format.name != codec]:
            raise InputError(f"{path}: cut off or damaged ({complaints[0]}); copy or download it again")
        if not len(rows):
            raise InputError(f"{path}: the video has no frames; copy or download it again")
        _check_length(path, container, ends)
        if (promised := stream.frames) > len(rows) and kind == "mov" and not rows["hidden"].any():
            raise InputError(f"{path}: cut off, {len(rows)} of {promised} frames are there; copy or download it again")
        indexed = kind in _TIMED and _family(codec) in _ONE_A_PACKET
        timed = indexed or (kind == "mpegts" and codec in _STREAMED and (np.diff(rows["dts"]) > 0).all())
        shown, keys, closed = _order(rows, clean) if timed else (None, np.empty(0, np.int64), False)
        rate = stream.average_rate or stream.guessed_rate
        context = stream.codec_context
        return Look(
            path=path,
            index=stream.index,
            packets=len(rows),
            shown=shown,
            keys=keys,
            unit=float(stream.time_base) if stream.time_base else 0.0,
            timed=kind in _BELIEVED,
            fps=float(rate) if rate else 0.0,
            aspect=_aspect(stream),
            early=0 if indexed or not stream.time_base else int(1 / stream.time_base),
            for_decord=(
                indexed
                and shown is not None
                and closed
                and not rows["hidden"].any()
                and len(shown) > 1
                and len(container.streams.video) == 1
                and _family(codec) in _OF_DECORD
                and context.format is not None
                and context.format.name in _FORMATS_OF_DECORD
                and min(context.width, context.height) >= 16
            ),
        )


_ROW = np.dtype([("pts", np.int64), ("dts", np.int64), ("key", bool), ("hidden", bool), ("clean", bool)])
_MISSING = np.iinfo(np.int64).min


def _family(codec: str) -> str:
    """The codec behind a decoder's name: libdav1d -> av1, libvpx-vp9 -> vp9."""
    return {"libdav1d": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9", "libvpx": "vp8"}.get(codec, codec)


def _demux(path: str, container: Any, stream: Any, codec: str) -> tuple[np.ndarray, float, bool]:
    """The packets of the stream in the file's order, when the last of any stream ends (in seconds), and whether every
    key packet starts afresh.
    """
    import av

    rows: list[tuple[int, int, bool, bool, bool]] = []
    end, clean = 0.0, True
    prefix = bitstreams.length_bytes(stream.codec_context) if codec in ("h264", "hevc") else 0
    joins = container.format.name == "mpegts"
    torn = 0  # packets since one before which bytes are missing
    before: float | None = None
    try:
        for packet in demux(container, *container.streams):
            shown_here = packet.stream_index == stream.index
            if packet.is_corrupt and not joins:
                raise InputError(f"{path}: cut off or damaged at packet {len(rows)}; copy or download it again")
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if not shown_here:
                continue
            time = None if packet.dts is None else float(packet.dts * packet.time_base)
            # Where recordings were joined, the counters of a transport stream jump, and soon the time does as well.
            if torn and time is not None and before is not None and abs(time - before) > _JOIN_S:
                torn = 0
            torn = 1 if packet.is_corrupt else torn and torn + 1
            if torn > _SOON:
                raise InputError(f"{path}: damaged at packet {len(rows) - _SOON}; copy or download it again")
            before = time
            key, afresh, hidden = packet.is_keyframe, True, packet.is_discard
            if key and codec in ("h264", "hevc"):
                afresh = bitstreams.starts_afresh(bytes(packet), prefix, codec)
            elif codec in ("vp8", "vp9"):
                hidden = hidden or not bitstreams.is_shown(bytes(packet), codec)
            clean = clean and afresh
            times = (_MISSING if time is None else time for time in (packet.pts, packet.dts))
            rows.append((*times, key, hidden, afresh))
            if not any(memoryview(packet)[:64]) and not any(memoryview(packet)):
                raise InputError(f"{path}: packet {len(rows) - 1} is nothing but zeros; copy or download it again")
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: cut off or damaged after {len(rows)} packets ({error.strerror}); copy or download it again"
        ) from None
    if torn:
        raise InputError(f"{path}: cut off or damaged at its last packet; copy or download it again")
    return np.array(rows, _ROW), end, clean


def _check_length(path: str, container: Any, end: float) -> None:
    """A header that says how long the file lasts is held against the time of the last packet of any stream."""
    if container.format.name.split(",")[0] not in ("matroska", "flv", "asf", "avi"):  # elsewhere it is an estimate
        return
    start = (container.start_time or 0) / 1e6
    length = (container.duration or 0) / 1e6
    if length - (end - min(start, 0.0)) > max(0.25, _SHORTER * length):
        raise InputError(
            f"{path}: cut off, it lasts {end:.1f} of {length:.1f} s that its header says; copy or download it again"
        )


def _order(rows: np.ndarray, clean: bool) -> tuple[np.ndarray | None, np.ndarray, bool]:
    """The times of what is shown, of where decoding can start, and whether no frame needs one before the last key."""
    pts, keep = rows["pts"], ~rows["hidden"]
    none = None, np.empty(0, np.int64), False
    if (pts == _MISSING).any() or not rows["key"][0]:
        return none
    shown = np.sort(pts[keep])
    if not len(shown) or (np.diff(shown) == 0).any() or shown[0] < pts[keep].min(initial=shown[0]):
        return none
    if keep[0] and shown[0] < pts[0]:  # frames before the first key: cut where others refer to what is gone
        return none
    at = np.flatnonzero(rows["key"])
    newest = np.maximum.accumulate(pts)
    led = [k for k in at if (pts[k + 1 :][:_LOOK_AHEAD] < pts[k]).any()]  # frames that come later and are shown before
    usable = at[keep[at] | rows["clean"][at]]
    rising = not len(at) or bool((pts[at[1:]] > newest[at[1:] - 1]).all())
    return shown, np.unique(pts[usable]), clean and not led and rising


_LOOK_AHEAD = 32  # frames: no codec reorders over more


def _aspect(stream: Any) -> float:
    """Of a pixel as shown; what cannot be meant counts as square."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio and 0.2 <= ratio <= 5 else 1.0
