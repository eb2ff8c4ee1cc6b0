"""Which files are pictures, by their endings, and what would use those that are not."""

from carrara.files import installing, is_installed

_PILLOW = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp", ".avif", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".apng", ".npy"),
)
_PACKAGES = {".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL"}
_EXPORT = "export them as PNG or JPEG"
_ADVICE = {
    f"raw pictures of a camera: {_EXPORT}": (
        ".cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .dng .raf .orf .rw2 .raw .pef .srw .x3f .3fr .iiq .erf .kdc .mrw .rwl"
    ),
    f"pictures with layers: {_EXPORT}": ".psd .psb .xcf .kra .clip .afphoto .ora .procreate",
    f"drawings: {_EXPORT}": ".ai .svg .svgz .eps .ps .pdf .cdr .wmf .emf",
    f"pictures of another format: {_EXPORT}": (
        ".jp2 .j2k .jpx .jpf .tga .ico .cur .icns .dds .pcx .exr .hdr .pfm .sgi .qoi .fits .heics .avifs .djvu"
    ),
    "video: export its frames as PNG or JPEG": ".mp4 .mov .mkv .avi .webm .m4v .wmv .flv .mpg .mpeg .3gp .ts .ogv",
    "sound, not pictures": ".wav .mp3 .flac .ogg .opus .m4a .aac .aif .aiff .wma .mid .midi",
    "an archive: unpack it": ".tar .gz .tgz .bz2 .xz .zst .7z .rar",
    "a spreadsheet: save it as CSV": ".xls .xlsx .ods .numbers",
    "weights of a model, not pictures": ".ckpt .safetensors .pt .pth .bin .onnx .gguf",
}
_BY_ENDING = {ending: words for words, endings in _ADVICE.items() for ending in endings.split()}
_NOISE = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "zbthumbnail.info"),
    *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
}


def endings() -> tuple[str, ...]:
    """The endings of the files that can be read here, in lower case: some need a package."""
    return *_PILLOW, *(ending for ending, form in _PACKAGES.items() if is_installed(form))


def advice(ending: str) -> str:
    """Why files of an ending are passed over, and what would use them, in a few words; nothing if nobody knows."""
    ending = ending.lower()
    if ending in _PACKAGES and not is_installed(_PACKAGES[ending]):
        return f"pictures that need {installing(_PACKAGES[ending])}"
    return _BY_ENDING.get(ending, "")


def is_picture(ending: str) -> bool:
    """Whether the files of an ending are pictures that cannot be read here."""
    return advice(ending).startswith(("pictures", "raw pictures"))


def is_noise(name: str) -> bool:
    """Whether a file or a folder is one that systems and viewers put beside pictures, which nobody misses."""
    return name.startswith(".") or name.lower() in _NOISE
