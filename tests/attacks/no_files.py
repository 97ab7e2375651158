"""Pipes, sockets, devices and folders where files are expected."""

import os
import socket


def fifo(path):
    os.mkfifo(path)


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        # The path of a socket is short: it is bound where the test is.
        opened.bind(path.name)


def device(path):
    path.symlink_to("/dev/zero")


def directory(path):
    path.mkdir()


CALLS = {
    "predict model": ("predict", "x.onnx", "features.npz"),
    "predict images": ("predict", "run", "x.png"),
    "predict features": ("predict", "run", "x.npz"),
    "predict prior": ("predict", "run", "features.npz", "--test-prior", "x.csv"),
    "info": ("info", "x.onnx"),
    "serve": ("serve", "x.onnx", "--port", "0"),
    "fit settings": ("fit", "cache", "--out", "new", "--settings", "x.yaml"),
    "import-features": ("import-features", "x.npz", "--out", "new"),
    "table": ("cache-features", "x.csv", "--out", "new", "--model", "builtin:tiny"),
    "tar": ("cache-features", "x.tar", "--out", "new", "--model", "builtin:tiny"),
    "zip": ("cache-features", "x.zip", "--out", "new", "--model", "builtin:tiny"),
    "classes": ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny", "--classes", "x.txt"),
    "templates": ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny", "--templates", "x.txt"),
    "pretrained": ("cache-features", "photos", "--out", "new", "--model", "ViT-B-16", "--pretrained", "x.pt"),
    "neighbours": ("neighbours", "cache", "x.png"),
    "keys": ("serve", "m.onnx", "--port", "0", "--api-key-file", "x.keys"),
}
"""Command lines, one of whose words, `x.SUFFIX`, is not what it should be."""

KINDS = (fifo, unix_socket, device, directory)
