"""What is in the media folder and how ffmpeg makes it. The layout of the folder is the layout of the URLs."""

from __future__ import annotations

from dataclasses import dataclass

DURATION_SECONDS = 15  #: One HLS or DASH fragment a second.
FRAMES_PER_SECOND = 15
FOLDERS = ("hls/plain", "hls/aes", "hls/av", "dash", "work")
WORK_FOLDER = "work"  #: Encoded once, packaged several times, then removed.


@dataclass(frozen=True, slots=True)
class Quality:
    name: str
    width: int
    height: int
    video_bits_per_second: int

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


QUALITIES = (
    Quality("360p", 640, 360, 700_000),
    Quality("180p", 320, 180, 250_000),
    Quality("90p", 160, 90, 80_000),
)
_AUDIO_BITS_PER_SECOND = 64_000
_CODECS = 'CODECS="avc1.42c01e,mp4a.40.2"'
_AES_KEY = b"reelin-origin-16"
_KEY_INFO = "hls/aes/media.key", "work/key-info"

# Bytes must be the same wherever and whenever they are made: no dates, no versions, no thread-dependent rate control.
_BITEXACT = ("-fflags", "+bitexact", "-map_metadata", "-1")
_X264 = (
    *("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-flags:v", "+bitexact", "-pix_fmt", "yuv420p"),
    *("-g", str(FRAMES_PER_SECOND), "-keyint_min", str(FRAMES_PER_SECOND), "-sc_threshold", "0"),
)
_AAC = ("-c:a", "aac", "-flags:a", "+bitexact")


def encode_command() -> list[str]:
    """Arguments of the one ffmpeg run that encodes: every quality, the sound, the thumbnail and the tiny file."""
    names = [quality.name for quality in QUALITIES]
    scaled = "".join(f";[s{quality.name}]scale={quality.size}[{quality.name}]" for quality in QUALITIES)
    graph = f"[0:v]split={len(names)}{''.join(f'[s{name}]' for name in names)}{scaled}"
    command = [
        *("-filter_complex_threads", "1"),
        *("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAMES_PER_SECOND}:duration={DURATION_SECONDS}"),
        *("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={DURATION_SECONDS}"),
        *("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5:duration=2"),
        *("-filter_complex", graph),
    ]
    for quality in QUALITIES:
        rate = str(quality.video_bits_per_second)
        limits = ("-b:v", rate, "-maxrate", rate, "-bufsize", rate)
        command += ["-map", f"[{quality.name}]", *_X264, *limits, *_BITEXACT, f"work/{quality.name}.mp4"]
    command += ["-map", "1:a", *_AAC, "-b:a", str(_AUDIO_BITS_PER_SECOND), *_BITEXACT, "audio.m4a"]
    command += ["-map", "2:v", "-map", "1:a", "-t", "2", *_X264, "-b:v", "50k", *_AAC, "-b:a", "24k", *_BITEXACT]
    command += ["tiny.mp4"]
    command += ["-map", "2:v", "-frames:v", "1", "-c:v", "mjpeg", "-threads", "1", "-flags:v", "+bitexact"]
    return [*command, "-pix_fmt", "yuvj420p", *_BITEXACT, "thumbnail.jpg"]


def package_command() -> list[str]:
    """Arguments of the one ffmpeg run that cuts what was encoded into fragments; it copies, it does not encode."""
    command: list[str] = []
    for quality in QUALITIES:
        command += ["-i", f"work/{quality.name}.mp4"]
    command += ["-i", "audio.m4a"]
    audio = f"{len(QUALITIES)}:a"
    for index, quality in enumerate(QUALITIES):
        command += ["-map", f"{index}:v", "-map", audio, *_hls("hls/plain", quality.name)]
    encryption = ("-hls_key_info_file", _KEY_INFO[1])
    command += ["-map", "0:v", "-map", audio, *encryption, *_hls("hls/aes", QUALITIES[0].name)]
    for index, quality in enumerate(QUALITIES[:2]):
        command += ["-map", f"{index}:v", *_hls("hls/av", quality.name)]
    command += ["-map", audio, *_hls("hls/av", "audio")]
    return [*command, "-map", "0:v", "-map", "1:v", "-map", audio, *_dash()]


def _hls(folder: str, name: str) -> list[str]:
    return [
        *("-c", "copy", *_BITEXACT, "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"),
        *("-hls_segment_filename", f"{folder}/{name}-%02d.ts", f"{folder}/{name}.m3u8"),
    ]


def _dash() -> list[str]:
    return [
        *("-c", "copy", *_BITEXACT, "-f", "dash", "-seg_duration", "1", "-use_template", "1", "-use_timeline", "1"),
        *("-adaptation_sets", "id=0,streams=0,1 id=1,streams=2"),
        *("-init_seg_name", "$RepresentationID$-init.m4s", "-media_seg_name", "$RepresentationID$-$Number%02d$.m4s"),
        "dash/manifest.mpd",
    ]


def written_files() -> dict[str, bytes]:
    """The files that need no ffmpeg, by path. ffmpeg reads two of them."""
    key_path, key_info = _KEY_INFO
    initialisation_vector = f"{1:032x}"
    texts = {
        key_info: f"media.key\n{key_path}\n{initialisation_vector}\n",
        "hls/plain/master.m3u8": _master(QUALITIES),
        "hls/aes/master.m3u8": _master(QUALITIES[:1]),
        "hls/av/master.m3u8": _master_of_separate_renditions(),
        **_subtitles(),
    }
    return {key_path: _AES_KEY, **{path: text.encode() for path, text in texts.items()}}


def finished_files() -> frozenset[str]:
    """What a finished folder cannot be without, by path; not each fragment, which its playlist names."""
    made = {"clip.mp4", "tiny.mp4", "audio.m4a", "thumbnail.jpg", "dash/manifest.mpd"}
    playlists = {f"hls/plain/{quality.name}.m3u8" for quality in QUALITIES}
    written = {path for path in written_files() if not path.startswith(f"{WORK_FOLDER}/")}
    return frozenset(made | playlists | written)


def _master(qualities: tuple[Quality, ...], groups: str = "") -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:4"]
    for quality in qualities:
        bandwidth = quality.video_bits_per_second + _AUDIO_BITS_PER_SECOND
        stream = f"BANDWIDTH={bandwidth},RESOLUTION={quality.size},FRAME-RATE={FRAMES_PER_SECOND}.000,{_CODECS}{groups}"
        lines += [f"#EXT-X-STREAM-INF:{stream}", f"{quality.name}.m3u8"]
    return "\n".join(lines) + "\n"


def _master_of_separate_renditions() -> str:
    rendition = 'NAME="English",LANGUAGE="en",AUTOSELECT=YES,DEFAULT=YES'
    renditions = (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",{rendition},URI="audio.m3u8"\n'
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subtitles",{rendition},URI="subtitles.m3u8"\n'
    )
    streams = _master(QUALITIES[:2], ',AUDIO="audio",SUBTITLES="subtitles"')
    return streams.replace("#EXT-X-STREAM-INF", f"{renditions}#EXT-X-STREAM-INF", 1)


def _subtitles() -> dict[str, str]:
    """Three WebVTT fragments and their playlist. ffmpeg's TS streams begin at 1.4 s, hence the offset."""
    fragment_seconds = DURATION_SECONDS // 3
    playlist = ["#EXTM3U", "#EXT-X-VERSION:4", f"#EXT-X-TARGETDURATION:{fragment_seconds}"]
    playlist += ["#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-PLAYLIST-TYPE:VOD"]
    files: dict[str, str] = {}
    for number in range(3):
        cues = [
            f"00:00:{second:02d}.000 --> 00:00:{second:02d}.900\nSecond {second} of the test pattern\n"
            for second in range(number * fragment_seconds, (number + 1) * fragment_seconds)
        ]
        header = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:126000\n"
        files[f"hls/av/subtitles-{number:02d}.vtt"] = "\n".join([header, *cues])
        playlist += [f"#EXTINF:{fragment_seconds}.0,", f"subtitles-{number:02d}.vtt"]
    files["hls/av/subtitles.m3u8"] = "\n".join([*playlist, "#EXT-X-ENDLIST"]) + "\n"
    return files
